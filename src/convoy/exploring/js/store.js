// The state of the page: the network, the picture and what is open. Parts listen to changes and announce theirs.

import { valuesFor } from "./passes.js";

export const store = {
  page: null, // the JSON of the page
  language: "", // of its text
  arrays: null, // its arrays
  run: 0, // index of the network
  epoch: null, // index of its kept weights; null: the best weights
  source: null, // { kind: "scored", index } or { kind: "drawing" | "file", picture }
  pixels: null, // 0..255, [C, H, H]
  values: null, // of all operations for these pixels
  operation: 0, // the open one; its value has the number operation + 1
  map: 0,
  pixel: [-1, -1], // row and column; negative: the middle
  milliseconds: 0, // of the last pass
  fastest: 0, // milliseconds of the fastest pass of this network
};

const listeners = {};

export function listen(event, action) {
  (listeners[event] ??= []).push(action);
}

export function announce(event) {
  for (const action of listeners[event] ?? []) action();
}

export function currentRun() {
  return store.page.runs[store.run];
}

export function weightOf(operation, role) {
  // A weight of an operation of the current network, as trained.
  return store.arrays[currentRun().weights[operation.weights[role]]];
}

export function scoredPixels(index) {
  return imageOf(store.page.scored, index);
}

export function weightShape(operation) {
  // Of a convolution or linear layer. The graph of an ONNX model has no weights, only their shape.
  return operation.settings.weight ?? weightOf(operation, "weight").shape;
}

export function imageOf(images, index) {
  const all = store.arrays[images.pixels];
  const size = all.data.length / all.shape[0];
  return all.data.subarray(index * size, (index + 1) * size);
}

let wanted = null; // changes that the current pass does not have
let current = null; // promise of the current pass

export function change(changes) {
  // Changes the run, the epoch, or the pixels with their source, and computes the values for them. All of it is in the
  // store when the values are. While a pass runs, only the newest changes wait. Returns a promise if they have to.
  wanted = { ...wanted, ...changes };
  return current ?? advance();
}

function advance() {
  const { run, epoch, pixels, source } = store;
  const aim = { run, epoch, pixels, source, ...wanted };
  wanted = null;
  const start = performance.now();
  const finish = (values) => {
    const isOther = aim.run !== store.run;
    const milliseconds = performance.now() - start;
    const fastest = isOther || !store.values ? milliseconds : Math.min(store.fastest, milliseconds);
    Object.assign(store, aim, { values, milliseconds, fastest });
    if (isOther) announceRun();
    announce("values");
  };
  const values = valuesFor(aim.pixels, store.page.runs[aim.run], aim.epoch);
  if (!(values instanceof Promise)) return finish(values);
  current = values.then((all) => {
    current = null;
    finish(all);
    return wanted ? advance() : undefined;
  });
  return current;
}

function announceRun() {
  Object.assign(store, { operation: 0, map: 0, pixel: [-1, -1] });
  announce("run");
}

export function selectRun(index) {
  return change({ run: index, epoch: null });
}

export function selectMap(operation, map, pixel = null) {
  const { shape } = currentRun().graph.operations[operation];
  store.operation = operation;
  store.map = Math.min(map, mapsOf(shape).count - 1);
  const { rows, columns } = mapsOf(shape);
  const isInside = ([y, x]) => y >= 0 && y < rows && x >= 0 && x < columns;
  store.pixel = [pixel, store.pixel].find((each) => each && isInside(each)) ?? [rows >> 1, columns >> 1];
  announce("selection");
}

export function mapsOf(shape) {
  // How a value is shown: feature maps [1, C, H, W], a vector [1, F] as F maps of one pixel, others as one map.
  if (shape.length === 4) return { count: shape[1], rows: shape[2], columns: shape[3] };
  if (shape.length === 2) return { count: shape[1], rows: 1, columns: 1 };
  if (shape.length === 3) return { count: 1, rows: shape[1], columns: shape[2] };
  return { count: 1, rows: 1, columns: shape.reduce((a, b) => a * b, 1) };
}

export function mapOf(value, index) {
  const { rows, columns } = mapsOf(value.shape);
  return { data: value.data, start: index * rows * columns, rows, columns };
}

export function classOf(logits) {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
