// Operations on each number: activations, and arithmetic of two tensors, of which one may be broadcast.

import { sizeOf, stridesOf } from "./tensors.js";

export function each(f) {
  return ([x], { settings }) => {
    const result = new Float32Array(x.data.length);
    for (let i = 0; i < result.length; i++) result[i] = f(x.data[i], settings);
    return result;
  };
}

export function tanhOfGelu(v) {
  return Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3));
}

export function erf(x) {
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

export function expandedIndices(shape, target) {
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

export function broadcast(f) {
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
