// Where a forward pass runs: here if the network is small, else in a worker, so that the page stays responsive.

import { runNetwork } from "./operations.js";
import { sizeOf } from "./tensors.js";

const MOST_PRODUCTS = 8e6; // of a pass that runs here: about 15 ms on a laptop

let page = null;
let arrays = null;
let worker = null;
let isRefused = false; // the browser has no workers for this page
const waiting = new Map(); // number of a request -> what to do with its answer
let requests = 0;

export function startPasses(table, data) {
  page = table;
  arrays = data;
}

export function weightsOf(run, epoch = null) {
  const indices = epoch === null ? run.weights : run.epochs[epoch].weights;
  return indices.map((index) => arrays[index]);
}

export function normalised(pixels, run) {
  const { channels, size } = page;
  const plane = size * size;
  const data = new Float32Array(channels * plane);
  for (let channel = 0; channel < channels; channel++) {
    const [factor, offset] = [1 / run.std[channel], -run.mean[channel] / run.std[channel]];
    for (let i = channel * plane; i < (channel + 1) * plane; i++) data[i] = (pixels[i] / 255) * factor + offset;
  }
  return { shape: [1, channels, size, size], data };
}

export function valuesHere(pixels, run, epoch = null) {
  return runNetwork(run.graph, weightsOf(run, epoch), normalised(pixels, run));
}

export function logitsHere(pixels, run, epoch = null) {
  return valuesHere(pixels, run, epoch).at(-1).data;
}

export function valuesFor(pixels, run, epoch = null) {
  // The values of all operations, or a promise of them.
  return isLarge(run) ? ask({ pixels, run, epoch, all: true }) : valuesHere(pixels, run, epoch);
}

export function logitsFor(pixels, run, epoch = null) {
  return isLarge(run) ? ask({ pixels, run, epoch, all: false }) : logitsHere(pixels, run, epoch);
}

function isLarge({ graph, weights }) {
  if (isRefused) return false;
  const products = ({ name, shape, weights: own }) => {
    const { shape: sides } = arrays[weights[own.weight]];
    return name === "conv" ? sizeOf(sides) * shape[2] * shape[3] : (sizeOf(sides) * sizeOf(shape)) / sides[0];
  };
  const layers = graph.operations.filter(({ name }) => name === "conv" || name === "linear");
  return layers.reduce((sum, operation) => sum + products(operation), 0) > MOST_PRODUCTS;
}

function ask({ pixels, run, epoch, all }) {
  worker ??= startWorker();
  return new Promise((resolve) => {
    const here = () => (all ? valuesHere : logitsHere)(pixels, run, epoch);
    if (!worker) resolve(here());
    else {
      requests += 1;
      waiting.set(requests, { resolve, here });
      worker.postMessage({ number: requests, pixels, run: page.runs.indexOf(run), epoch, all });
    }
  });
}

function startWorker() {
  // It runs this script, which does not start the page where there is no document.
  const refuse = () => {
    isRefused = true;
    worker = null;
    for (const { resolve, here } of waiting.values()) resolve(here());
    waiting.clear();
  };
  try {
    const script = new Blob([document.getElementById("script").textContent], { type: "text/javascript" });
    const made = new Worker(URL.createObjectURL(script));
    made.onmessage = ({ data: { number, answer } }) => {
      waiting.get(number)?.resolve(answer);
      waiting.delete(number);
    };
    made.onerror = refuse;
    const { channels, size, runs } = page;
    made.postMessage({ page: { channels, size, runs }, arrays });
    return made;
  } catch {
    refuse();
    return null;
  }
}

export function serve() {
  // In the worker: the first message has the networks, the others are requests.
  globalThis.onmessage = ({ data }) => {
    if (data.page) {
      startPasses(data.page, data.arrays);
      return;
    }
    const { number, pixels, run, epoch, all } = data;
    const answer = (all ? valuesHere : logitsHere)(pixels, page.runs[run], epoch);
    const buffers = new Set((all ? answer : [{ data: answer }]).map((value) => value.data.buffer));
    for (const array of arrays) buffers.delete(array.data.buffer); // weights stay here
    postMessage({ number, answer }, [...buffers]);
  };
}
