// Operations that move numbers: parts, joins, order of the axes, padding; and reductions of axes.

import { sizeOf, stridesOf } from "./tensors.js";

export function concatenate(inputs, { shape, settings }) {
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

export function takeSlice([x], { shape, settings }) {
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

export function permute([x], { shape, settings }) {
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

export function reduceAxes(x, axes, f) {
  // The reduced axes are last in the order of the result, with or without sides of 1 in its shape.
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const order = [...kept, ...axes];
  const moved = permute([x], { settings: { axes: order }, shape: order.map((axis) => x.shape[axis]) });
  const count = sizeOf(axes.map((axis) => x.shape[axis]));
  const result = new Float32Array(moved.length / count);
  for (let i = 0; i < result.length; i++) result[i] = f(moved.subarray(i * count, (i + 1) * count));
  return result;
}

export function padWith([x], { shape, settings }) {
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
