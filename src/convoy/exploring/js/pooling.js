// Operations on windows of a map: pooling, and enlargement.

import { overMaps } from "./tensors.js";

export function poolMaximum([x], { shape, settings }) {
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

export function poolAverage([x], { shape, settings }) {
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

export function poolAdaptively(x, { shape }, f) {
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

export function repeatNearest(x, { shape }) {
  const [height, width] = x.shape.slice(-2);
  const [outHeight, outWidth] = shape.slice(-2);
  return overMaps(x, shape, (plane, y, column) => {
    const row = Math.min(height - 1, Math.floor((y * height) / outHeight));
    return x.data[plane + row * width + Math.min(width - 1, Math.floor((column * width) / outWidth))];
  });
}

export function interpolate(x, { shape, settings }) {
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
