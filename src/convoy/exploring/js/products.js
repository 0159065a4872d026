// Operations with trained weights that multiply and add: convolutions, linear layers, matrix products.

import { sizeOf } from "./tensors.js";

export function convolve([x], { shape, settings }, { weight, bias }) {
  const [, outMaps, outHeight, outWidth] = shape;
  const [, mapsPerGroup, kernelHeight, kernelWidth] = weight.shape;
  const { stride, padding, dilation, groups } = settings;
  const input = surroundWithZeros(x, padding);
  const plane = outHeight * outWidth;
  const taps = kernelHeight * kernelWidth;
  const kernel = mapsPerGroup * taps; // weights of one output map
  // An output pixel p multiplies the weight k by the input pixel origins[p] + steps[k].
  const origins = Int32Array.from({ length: plane }, (_, p) => Math.floor(p / outWidth) * stride[0] * input.width + (p % outWidth) * stride[1]);
  const steps = Int32Array.from({ length: kernel }, (_, k) => {
    const [map, row] = [Math.floor(k / taps), Math.floor((k % taps) / kernelWidth)];
    return map * input.plane + row * dilation[0] * input.width + (k % kernelWidth) * dilation[1];
  });
  const result = new Float32Array(outMaps * plane);
  const outPerGroup = outMaps / groups;
  for (let group = 0; group < groups; group++) {
    const pixels = input.data.subarray(group * mapsPerGroup * input.plane);
    const end = (group + 1) * outPerGroup;
    for (let map = group * outPerGroup; map < end; map += 2) {
      convolvePair([map, Math.min(map + 1, end - 1)], { pixels, origins, steps, weights: weight.data, bias: bias?.data }, result);
    }
  }
  return result;
}

function convolvePair([map, other], { pixels, origins, steps, weights, bias }, result) {
  // Two output maps and four pixels at a time: their eight sums stay in registers, which halves the time. At the end of
  // a map, and in a group with an odd number of maps, some are computed twice.
  const [plane, kernel] = [origins.length, steps.length];
  const [firstWeight, secondWeight] = [map * kernel, other * kernel];
  const [firstBias, secondBias] = bias ? [bias[map], bias[other]] : [0, 0];
  for (let p = 0; p < plane; p += 4) {
    const [pa, pb, pc, pd] = [p, Math.min(p + 1, plane - 1), Math.min(p + 2, plane - 1), Math.min(p + 3, plane - 1)];
    const [a, b, c, d] = [origins[pa], origins[pb], origins[pc], origins[pd]];
    let firstA = firstBias;
    let firstB = firstBias;
    let firstC = firstBias;
    let firstD = firstBias;
    let secondA = secondBias;
    let secondB = secondBias;
    let secondC = secondBias;
    let secondD = secondBias;
    // No array patterns here: they cost more than the products.
    for (let k = 0; k < kernel; k++) {
      const step = steps[k];
      const first = weights[firstWeight + k];
      const second = weights[secondWeight + k];
      const valueA = pixels[a + step];
      const valueB = pixels[b + step];
      const valueC = pixels[c + step];
      const valueD = pixels[d + step];
      firstA += first * valueA;
      firstB += first * valueB;
      firstC += first * valueC;
      firstD += first * valueD;
      secondA += second * valueA;
      secondB += second * valueB;
      secondC += second * valueC;
      secondD += second * valueD;
    }
    const [to, too] = [map * plane, other * plane];
    result[to + pa] = firstA;
    result[to + pb] = firstB;
    result[to + pc] = firstC;
    result[to + pd] = firstD;
    result[too + pa] = secondA;
    result[too + pb] = secondB;
    result[too + pc] = secondC;
    result[too + pd] = secondD;
  }
}

function surroundWithZeros({ shape, data }, [rows, columns]) {
  // The maps with their padding.
  const [, maps, height, width] = shape;
  const outWidth = width + 2 * columns;
  const plane = (height + 2 * rows) * outWidth;
  if (!rows && !columns) return { data, width, plane };
  const result = new Float32Array(maps * plane);
  for (let map = 0; map < maps; map++) {
    for (let y = 0; y < height; y++) {
      const from = (map * height + y) * width;
      result.set(data.subarray(from, from + width), map * plane + (y + rows) * outWidth + columns);
    }
  }
  return { data: result, width: outWidth, plane };
}

export function applyLinear([x], { shape }, { weight, bias }) {
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

export function multiplyMatrices([a, b], { shape }) {
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
