// Where a forward pass runs: here if the network is small, else in a worker, so that the page stays responsive.

import { runModel } from "./onnx.js";
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
  return runsElsewhere(run) ? ask({ pixels, run, epoch, all: true }) : valuesHere(pixels, run, epoch);
}

export function logitsFor(pixels, run, epoch = null) {
  return runsElsewhere(run) ? ask({ pixels, run, epoch, all: false }) : logitsHere(pixels, run, epoch);
}

function answerOf({ pixels, run, epoch, all }) {
  // The values, or only the logits; of an ONNX model, a promise.
  if (!run.model) return all ? valuesHere(pixels, run, epoch) : logitsHere(pixels, run, epoch);
  const values = runModel(run, normalised(pixels, run), { arrays, runtime: page.runtime, all });
  return all ? values : values.then((each) => each.at(-1).data);
}

function runsElsewhere({ graph, weights, model }) {
  if (model) return true;
  if (isRefused) return false;
  const products = ({ name, shape, weights: own }) => {
    const { shape: sides } = arrays[weights[own.weight]];
    return name === "conv" ? sizeOf(sides) * shape[2] * shape[3] : (sizeOf(sides) * sizeOf(shape)) / sides[0];
  };
  const layers = graph.operations.filter(({ name }) => name === "conv" || name === "linear");
  return layers.reduce((sum, operation) => sum + products(operation), 0) > MOST_PRODUCTS;
}

function ask(pass) {
  if (!isRefused) worker ??= startWorker();
  return new Promise((resolve) => {
    const here = () => resolve(answerOf(pass));
    if (!worker) here();
    else {
      requests += 1;
      waiting.set(requests, { resolve, here });
      worker.postMessage({ ...pass, number: requests, run: page.runs.indexOf(pass.run) });
    }
  });
}

function startWorker() {
  // It runs this script, which does not start the page where there is no document.
  const refuse = () => {
    isRefused = true;
    worker = null;
    for (const { here } of waiting.values()) here();
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
    const { channels, size, runs, runtime } = page;
    made.postMessage({ page: { channels, size, runs, runtime }, arrays });
    return made;
  } catch {
    refuse();
    return null;
  }
}

export function serve() {
  // In the worker: the first message has the networks, the others are requests.
  globalThis.onmessage = async ({ data }) => {
    if (data.page) {
      startPasses(data.page, data.arrays);
      return;
    }
    const answer = await answerOf({ ...data, run: page.runs[data.run] });
    const buffers = new Set((data.all ? answer : [{ data: answer }]).map((value) => value.data.buffer));
    for (const array of arrays) buffers.delete(array.data.buffer); // weights stay here
    postMessage({ number: data.number, answer }, [...buffers]);
  };
  // The page computes itself what the worker cannot, and then reports the error.
  globalThis.onunhandledrejection = (event) => setTimeout(() => { throw event.reason; });
}
