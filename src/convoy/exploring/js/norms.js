// Operations that standardise: batch, layer and group norm, and softmax.

import { sizeOf } from "./tensors.js";

export function batchNormOf(own, channel, eps) {
  // Factor and offset of a channel: y = factor * x + offset.
  const factor = (own.weight ? own.weight.data[channel] : 1) / Math.sqrt(own.variance.data[channel] + eps);
  return [factor, (own.bias ? own.bias.data[channel] : 0) - factor * own.mean.data[channel]];
}

export function normaliseBatch([x], { settings }, own) {
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

export function normaliseRows(x, { axes, eps }, { weight, bias }) {
  const row = sizeOf(x.shape.slice(x.shape.length - axes));
  const result = new Float32Array(x.data.length);
  for (let start = 0; start < result.length; start += row) standardise(x.data, start, start + row, eps, result);
  for (let i = 0; i < result.length; i++) {
    result[i] = result[i] * (weight ? weight.data[i % row] : 1) + (bias ? bias.data[i % row] : 0);
  }
  return result;
}

export function normaliseGroups([x], { settings }, { weight, bias }) {
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

export function softmaxAlong(x, axis, f) {
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
