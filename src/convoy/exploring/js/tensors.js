// Sides and places of tensors: { shape, data }, with a Float32Array in row-major order.

export function sizeOf(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

export function stridesOf(shape) {
  const strides = new Array(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * shape[axis + 1];
  return strides;
}

export function overMaps(x, shape, f) {
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

export function average(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

export function maximum(values) {
  let highest = -Infinity;
  for (const value of values) highest = value > highest ? value : highest;
  return highest;
}
