// Operations with trained weights that multiply and add: convolutions, linear layers, matrix products.

import { sizeOf } from "./tensors.js";

export function convolve([x], { shape, settings }, { weight, bias }) {
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
