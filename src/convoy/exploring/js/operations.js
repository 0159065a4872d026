// The operations of a network, for one image. A tensor is { shape, data }: its sides, with a batch of one, and a
// Float32Array in row-major order. Each operation takes (inputs, operation, weights) and returns the data of its result,
// whose shape is in the operation. Sums are accumulated in float64, which is closer to the exact result than PyTorch.

import { broadcast, each, erf, expandedIndices, tanhOfGelu } from "./elementwise.js";
import { concatenate, padWith, permute, reduceAxes, takeSlice } from "./moves.js";
import { normaliseBatch, normaliseGroups, normaliseRows, softmaxAlong } from "./norms.js";
import { interpolate, poolAdaptively, poolAverage, poolMaximum, repeatNearest } from "./pooling.js";
import { applyLinear, convolve, multiplyMatrices } from "./products.js";
import { average, maximum } from "./tensors.js";

export function runNetwork(graph, weights, image) {
  // Returns the values of all operations; the first is the image, the last the output of the network.
  const values = [image];
  for (const operation of graph.operations) {
    const inputs = operation.inputs.map((number) => values[number]);
    values.push(runOperation(operation, inputs, weights));
  }
  return values;
}

function runOperation(operation, inputs, weights) {
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
