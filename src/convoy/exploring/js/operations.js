// The operations of a network, for one image. A tensor is { shape, data }: its sides, with a batch of one, and a
// Float32Array in row-major order. Each operation takes (inputs, operation, weights) and returns the data of its result,
// whose shape is in the operation. Sums are accumulated in float64, which is closer to the exact result than PyTorch.

export function sizeOf(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

export function runNetwork(graph, weights, image) {
  // Returns the values of all operations; the first is the image, the last the output of the network.
  const values = [image];
  for (const operation of graph.operations) {
    const inputs = operation.inputs.map((number) => values[number]);
    values.push(runOperation(operation, inputs, weights));
  }
  return values;
}

export function runOperation(operation, inputs, weights) {
  const own = {};
  for (const [role, index] of Object.entries(operation.weights)) own[role] = weights[index];
  return { shape: operation.shape, data: OPERATIONS[operation.name](inputs, operation, own) };
}

const OPERATIONS = {
  weight: (inputs, operation, { weight }) => weight.data,
  identity: ([x]) => x.data,
  reshape: ([x]) => x.data,
  conv: convolve,
  linear: applyLinear,
  matmul: multiplyMatrices,
  batch_norm: normaliseBatch,
  layer_norm: ([x], { settings }, own) => normaliseRows(x, settings, own),
  group_norm: normaliseGroups,
  relu: each((v) => (v > 0 ? v : 0)),
  silu: each((v) => v / (1 + Math.exp(-v))),
  hardswish: each((v) => (v * Math.min(6, Math.max(0, v + 3))) / 6),
  hardsigmoid: each((v) => Math.min(6, Math.max(0, v + 3)) / 6),
  sigmoid: each((v) => 1 / (1 + Math.exp(-v))),
  tanh: each(Math.tanh),
  exp: each(Math.exp),
  sqrt: each(Math.sqrt),
  rsqrt: each((v) => 1 / Math.sqrt(v)),
  neg: each((v) => -v),
  abs: each(Math.abs),
  clamp: each((v, { low, high }) => Math.min(high, Math.max(low, v))),
  leaky_relu: each((v, { slope }) => (v > 0 ? v : slope * v)),
  elu: each((v, { alpha }) => (v > 0 ? v : alpha * Math.expm1(v))),
  gelu: each((v, { approximate }) => 0.5 * v * (1 + (approximate === "tanh" ? tanhOfGelu(v) : erf(v / Math.SQRT2)))),
  softplus: each((v, { beta, threshold }) => (beta * v > threshold ? v : Math.log1p(Math.exp(beta * v)) / beta)),
  softmax: ([x], { settings }) => softmaxAlong(x, settings.axis, (v, sum) => Math.exp(v) / sum),
  log_softmax: ([x], { settings }) => softmaxAlong(x, settings.axis, (v, sum) => v - Math.log(sum)),
  max_pool: poolMaximum,
  avg_pool: poolAverage,
  adaptive_avg_pool: (inputs, operation) => poolAdaptively(inputs[0], operation, average),
  adaptive_max_pool: (inputs, operation) => poolAdaptively(inputs[0], operation, maximum),
  mean: ([x], { settings }) => reduceAxes(x, settings.axes, average),
  sum: ([x], { settings }) => reduceAxes(x, settings.axes, (values) => values.reduce((a, b) => a + b, 0)),
  max: ([x], { settings }) => reduceAxes(x, settings.axes, maximum),
  add: broadcast((a, b) => a + b),
  subtract: broadcast((a, b) => a - b),
  multiply: broadcast((a, b) => a * b),
  divide: broadcast((a, b) => a / b),
  maximum: broadcast(Math.max),
  concatenate,
  slice: takeSlice,
  expand: ([x], { shape }) => Float32Array.from(expandedIndices(x.shape, shape), (index) => x.data[index]),
  permute,
  upsample: ([x], operation) => (operation.settings.mode === "nearest" ? repeatNearest : interpolate)(x, operation),
  pad: padWith,
};

function each(f) {
  return ([x], { settings }) => {
    const result = new Float32Array(x.data.length);
    for (let i = 0; i < result.length; i++) result[i] = f(x.data[i], settings);
    return result;
  };
}

function convolve([x], { shape, settings }, { weight, bias }) {
  const [height, width] = x.shape.slice(2);
  const [, outMaps, outHeight, outWidth] = shape;
  const [, mapsPerGroup, kernelHeight, kernelWidth] = weight.shape;
  const { stride, padding, dilation, groups } = settings;
  const result = new Float32Array(sizeOf(shape));
  const plane = outHeight * outWidth;
  const kernel = mapsPerGroup * kernelHeight * kernelWidth; // weights of one output map
  const across = stride[1];
  const [pixels, w] = [x.data, weight.data];
  const outPerGroup = outMaps / groups;
  // Two output maps at a time read each input pixel once, which saves a third of the time.
  const sums = new Float64Array(2 * plane);
  for (let map = 0; map < outMaps; map += 2) {
    const group = Math.floor(map / outPerGroup);
    const isPair = map + 1 < outMaps && Math.floor((map + 1) / outPerGroup) === group;
    sums.fill(bias ? bias.data[map] : 0, 0, plane);
    if (isPair) sums.fill(bias ? bias.data[map + 1] : 0, plane);
    for (let m = 0; m < mapsPerGroup; m++) {
      const start = (group * mapsPerGroup + m) * height * width;
      for (let ky = 0; ky < kernelHeight; ky++) {
        // The rows and columns whose input pixel is not padding.
        const down = ky * dilation[0] - padding[0];
        const [top, bottom] = insideRange(down, stride[0], height, outHeight);
        for (let kx = 0; kx < kernelWidth; kx++) {
          const shift = kx * dilation[1] - padding[1];
          const [left, right] = insideRange(shift, across, width, outWidth);
          const place = map * kernel + (m * kernelHeight + ky) * kernelWidth + kx;
          const first = w[place];
          const second = isPair ? w[place + kernel] : 0;
          for (let y = top; y < bottom; y++) {
            let from = start + (y * stride[0] + down) * width + shift + left * across;
            for (let to = y * outWidth + left; to < y * outWidth + right; to++) {
              const value = pixels[from];
              sums[to] += first * value;
              sums[to + plane] += second * value;
              from += across;
            }
          }
        }
      }
    }
    result.set(isPair ? sums : sums.subarray(0, plane), map * plane);
    if (!isPair) map -= 1; // the next group starts here
  }
  return result;
}

function insideRange(shift, stride, inSide, outSide) {
  // The positions p of the output with 0 <= p * stride + shift < inSide: [first, end).
  const first = Math.max(0, Math.ceil(-shift / stride));
  const end = Math.min(outSide, Math.floor((inSide - 1 - shift) / stride) + 1);
  return [first, Math.max(first, end)];
}

function applyLinear([x], { shape }, { weight, bias }) {
  const [outputs, features] = weight.shape;
  const result = new Float32Array(sizeOf(shape));
  const rows = result.length / outputs;
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias ? bias.data[o] : 0;
      for (let f = 0; f < features; f++) sum += weight.data[o * features + f] * x.data[row * features + f];
      result[row * outputs + o] = sum;
    }
  }
  return result;
}

function multiplyMatrices([a, b], { shape }) {
  const [rows, inner] = a.shape.slice(-2);
  const columns = b.shape.at(-1);
  const result = new Float32Array(sizeOf(shape));
  for (let batch = 0; batch < result.length / (rows * columns); batch++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        for (let k = 0; k < inner; k++) sum += a.data[(batch * rows + i) * inner + k] * b.data[(batch * inner + k) * columns + j];
        result[(batch * rows + i) * columns + j] = sum;
      }
    }
  }
  return result;
}

export function batchNormOf(own, channel, eps) {
  // Factor and offset of a channel: y = factor * x + offset.
  const factor = (own.weight ? own.weight.data[channel] : 1) / Math.sqrt(own.variance.data[channel] + eps);
  return [factor, (own.bias ? own.bias.data[channel] : 0) - factor * own.mean.data[channel]];
}

function normaliseBatch([x], { settings }, own) {
  const channels = x.shape[1];
  const plane = x.data.length / channels;
  const result = new Float32Array(x.data.length);
  for (let channel = 0; channel < channels; channel++) {
    const [factor, offset] = batchNormOf(own, channel, settings.eps);
    for (let i = channel * plane; i < (channel + 1) * plane; i++) result[i] = factor * x.data[i] + offset;
  }
  return result;
}

function standardise(data, start, end, eps, result) {
  let mean = 0;
  for (let i = start; i < end; i++) mean += data[i];
  mean /= end - start;
  let variance = 0;
  for (let i = start; i < end; i++) variance += (data[i] - mean) ** 2;
  const factor = 1 / Math.sqrt(variance / (end - start) + eps);
  for (let i = start; i < end; i++) result[i] = (data[i] - mean) * factor;
}

function normaliseRows(x, { axes, eps }, { weight, bias }) {
  const row = sizeOf(x.shape.slice(x.shape.length - axes));
  const result = new Float32Array(x.data.length);
  for (let start = 0; start < result.length; start += row) standardise(x.data, start, start + row, eps, result);
  for (let i = 0; i < result.length; i++) {
    result[i] = result[i] * (weight ? weight.data[i % row] : 1) + (bias ? bias.data[i % row] : 0);
  }
  return result;
}

function normaliseGroups([x], { settings }, { weight, bias }) {
  const group = x.data.length / settings.groups;
  const plane = x.data.length / x.shape[1];
  const result = new Float32Array(x.data.length);
  for (let start = 0; start < result.length; start += group) standardise(x.data, start, start + group, settings.eps, result);
  for (let i = 0; i < result.length; i++) {
    const channel = Math.floor(i / plane);
    result[i] = result[i] * (weight ? weight.data[channel] : 1) + (bias ? bias.data[channel] : 0);
  }
  return result;
}

function tanhOfGelu(v) {
  return Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3));
}

function erf(x) {
  // The Taylor series near 0, the continued fraction (Lentz) of erfc elsewhere; both exact to 1e-12.
  const a = Math.abs(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; n < 60; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 40; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

function softmaxAlong(x, axis, f) {
  const count = x.shape[axis];
  const inner = sizeOf(x.shape.slice(axis + 1));
  const result = new Float32Array(x.data.length);
  for (let outer = 0; outer < result.length; outer += count * inner) {
    for (let start = outer; start < outer + inner; start++) {
      let highest = -Infinity;
      for (let k = 0; k < count; k++) highest = Math.max(highest, x.data[start + k * inner]);
      let sum = 0;
      for (let k = 0; k < count; k++) sum += Math.exp(x.data[start + k * inner] - highest);
      for (let k = 0; k < count; k++) result[start + k * inner] = f(x.data[start + k * inner] - highest, sum);
    }
  }
  return result;
}

export function probabilitiesOf(logits) {
  return softmaxAlong({ shape: [logits.length], data: logits }, 0, (v, sum) => Math.exp(v) / sum);
}

function average(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

function maximum(values) {
  let highest = -Infinity;
  for (const value of values) highest = value > highest ? value : highest;
  return highest;
}

function poolMaximum([x], { shape, settings }) {
  const [, , height, width] = x.shape;
  const { kernel, stride, padding, dilation } = settings;
  return overMaps(x, shape, (plane, y, column) => {
    let highest = -Infinity;
    for (let ky = 0; ky < kernel[0]; ky++) {
      const row = y * stride[0] + ky * dilation[0] - padding[0];
      if (row < 0 || row >= height) continue;
      for (let kx = 0; kx < kernel[1]; kx++) {
        const place = column * stride[1] + kx * dilation[1] - padding[1];
        if (place >= 0 && place < width) highest = Math.max(highest, x.data[plane + row * width + place]);
      }
    }
    return highest;
  });
}

function poolAverage([x], { shape, settings }) {
  const [, , height, width] = x.shape;
  const { kernel, stride, padding } = settings;
  return overMaps(x, shape, (plane, y, column) => {
    const top = y * stride[0] - padding[0];
    const left = column * stride[1] - padding[1];
    // In the last window of ceil_mode, PyTorch counts the padding but not what is beyond it.
    const rows = Math.min(top + kernel[0], height + padding[0]) - top;
    const columns = Math.min(left + kernel[1], width + padding[1]) - left;
    let sum = 0;
    let count = 0;
    for (let row = Math.max(0, top); row < Math.min(height, top + rows); row++) {
      for (let place = Math.max(0, left); place < Math.min(width, left + columns); place++) {
        sum += x.data[plane + row * width + place];
        count += 1;
      }
    }
    return sum / (settings.count_padding ? rows * columns : count);
  });
}

function poolAdaptively(x, { shape }, f) {
  const [height, width] = x.shape.slice(-2);
  const [outHeight, outWidth] = shape.slice(-2);
  return overMaps(x, shape, (plane, y, column) => {
    const values = [];
    for (let row = Math.floor((y * height) / outHeight); row < Math.ceil(((y + 1) * height) / outHeight); row++) {
      const end = Math.ceil(((column + 1) * width) / outWidth);
      for (let place = Math.floor((column * width) / outWidth); place < end; place++) {
        values.push(x.data[plane + row * width + place]);
      }
    }
    return f(values);
  });
}

function overMaps(x, shape, f) {
  // f(start of the map in x, row, column) for each pixel of the result.
  const [outHeight, outWidth] = shape.slice(-2);
  const plane = x.shape.at(-1) * x.shape.at(-2);
  const result = new Float32Array(sizeOf(shape));
  for (let i = 0; i < result.length; i++) {
    const map = Math.floor(i / (outHeight * outWidth));
    result[i] = f(map * plane, Math.floor(i / outWidth) % outHeight, i % outWidth);
  }
  return result;
}

function stridesOf(shape) {
  const strides = new Array(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * shape[axis + 1];
  return strides;
}

function reduceAxes(x, axes, f) {
  // The reduced axes are last in the order of the result, with or without sides of 1 in its shape.
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const order = [...kept, ...axes];
  const moved = permute([x], { settings: { axes: order }, shape: order.map((axis) => x.shape[axis]) });
  const count = sizeOf(axes.map((axis) => x.shape[axis]));
  const result = new Float32Array(moved.length / count);
  for (let i = 0; i < result.length; i++) result[i] = f(moved.subarray(i * count, (i + 1) * count));
  return result;
}

function expandedIndices(shape, target) {
  // For each element of the target shape, the index in a tensor of `shape` that is broadcast to it.
  const padded = [...new Array(target.length - shape.length).fill(1), ...shape];
  const strides = stridesOf(padded).map((stride, axis) => (padded[axis] === 1 ? 0 : stride));
  const targetStrides = stridesOf(target);
  const indices = new Int32Array(sizeOf(target));
  for (let i = 0; i < indices.length; i++) {
    let index = 0;
    for (let axis = 0; axis < target.length; axis++) {
      index += (Math.floor(i / targetStrides[axis]) % target[axis]) * strides[axis];
    }
    indices[i] = index;
  }
  return indices;
}

function broadcast(f) {
  return ([a, b], { shape, settings }) => {
    const result = new Float32Array(sizeOf(shape));
    if (!b) {
      for (let i = 0; i < result.length; i++) result[i] = f(a.data[i], settings.other);
    } else if (a.data.length === result.length && b.data.length === result.length) {
      for (let i = 0; i < result.length; i++) result[i] = f(a.data[i], b.data[i]);
    } else {
      const [first, second] = [expandedIndices(a.shape, shape), expandedIndices(b.shape, shape)];
      for (let i = 0; i < result.length; i++) result[i] = f(a.data[first[i]], b.data[second[i]]);
    }
    return result;
  };
}

function concatenate(inputs, { shape, settings }) {
  const result = new Float32Array(sizeOf(shape));
  const inner = sizeOf(shape.slice(settings.axis + 1));
  const outer = sizeOf(shape.slice(0, settings.axis));
  let start = 0;
  for (const x of inputs) {
    const block = x.shape[settings.axis] * inner;
    for (let o = 0; o < outer; o++) {
      result.set(x.data.subarray(o * block, (o + 1) * block), o * shape[settings.axis] * inner + start);
    }
    start += block;
  }
  return result;
}

function takeSlice([x], { shape, settings }) {
  const { axis, start, step } = settings;
  const inner = sizeOf(x.shape.slice(axis + 1));
  const outer = sizeOf(x.shape.slice(0, axis));
  const result = new Float32Array(sizeOf(shape));
  const count = result.length / inner / outer;
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < count; k++) {
      const from = (o * x.shape[axis] + start + k * step) * inner;
      result.set(x.data.subarray(from, from + inner), (o * count + k) * inner);
    }
  }
  return result;
}

function permute([x], { shape, settings }) {
  const strides = stridesOf(x.shape);
  const moved = settings.axes.map((axis) => strides[axis]);
  const targetStrides = stridesOf(shape);
  const result = new Float32Array(x.data.length);
  for (let i = 0; i < result.length; i++) {
    let index = 0;
    for (let axis = 0; axis < shape.length; axis++) {
      index += (Math.floor(i / targetStrides[axis]) % shape[axis]) * moved[axis];
    }
    result[i] = x.data[index];
  }
  return result;
}

function repeatNearest(x, { shape }) {
  const [height, width] = x.shape.slice(-2);
  const [outHeight, outWidth] = shape.slice(-2);
  return overMaps(x, shape, (plane, y, column) => {
    const row = Math.min(height - 1, Math.floor((y * height) / outHeight));
    return x.data[plane + row * width + Math.min(width - 1, Math.floor((column * width) / outWidth))];
  });
}

function interpolate(x, { shape, settings }) {
  const [height, width] = x.shape.slice(-2);
  const [outHeight, outWidth] = shape.slice(-2);
  const place = (position, inSide, outSide) => {
    const scale = settings.align_corners ? (inSide - 1) / Math.max(1, outSide - 1) : inSide / outSide;
    const exact = settings.align_corners ? position * scale : Math.max(0, (position + 0.5) * scale - 0.5);
    const low = Math.min(inSide - 1, Math.floor(exact));
    return [low, Math.min(inSide - 1, low + 1), exact - low];
  };
  return overMaps(x, shape, (plane, y, column) => {
    const [top, bottom, down] = place(y, height, outHeight);
    const [left, right, across] = place(column, width, outWidth);
    const row = (r) => (1 - across) * x.data[plane + r * width + left] + across * x.data[plane + r * width + right];
    return (1 - down) * row(top) + down * row(bottom);
  });
}

function padWith([x], { shape, settings }) {
  // As in torch: pairs (before, after) from the last axis to the first.
  const result = new Float32Array(sizeOf(shape)).fill(settings.value);
  const [strides, targetStrides] = [stridesOf(x.shape), stridesOf(shape)];
  const before = shape.map((_, axis) => settings.pad[2 * (shape.length - 1 - axis)] ?? 0);
  for (let i = 0; i < x.data.length; i++) {
    let index = 0;
    let inside = true;
    for (let axis = 0; axis < shape.length; axis++) {
      const position = (Math.floor(i / strides[axis]) % x.shape[axis]) + before[axis];
      inside &&= position >= 0 && position < shape[axis]; // negative padding crops
      index += position * targetStrides[axis];
    }
    if (inside) result[index] = x.data[i];
  }
  return result;
}
