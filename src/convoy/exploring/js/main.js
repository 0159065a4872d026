// Starts the page: reads its arrays and connects its parts.

import { readAddress, startAddress } from "./address.js";
import { readArrays } from "./arrays.js";
import { byId, element, moveWithArrows } from "./elements.js";
import { startErrors } from "./errors.js";
import { startHistory } from "./history.js";
import { chooseScored, readPicture, startInput } from "./input.js";
import { startInspector } from "./inspect.js";
import { startLayers } from "./layers.js";
import { startOutput } from "./output.js";
import { startPad } from "./pad.js";
import { readColours } from "./painting.js";
import { startPlay } from "./play.js";
import { startSides } from "./sides.js";
import { announce, compute, currentRun, listen, logitsFor, scoredPixels, selectMap, selectRun, store } from "./store.js";
import { say, setWords } from "./text.js";
import { startWhere } from "./where.js";

const CHECK_MS = 300; // for the comparison of outputs with PyTorch's

async function start() {
  store.page = JSON.parse(byId("content").textContent);
  setWords(store.page.words);
  store.arrays = await readArrays(byId("arrays").textContent, store.page.arrays);
  readColours();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    announce("values");
  });
  store.pixels = new Float32Array(store.page.channels * store.page.size ** 2);
  startRuns();
  if (store.page.isHandwriting) startPad();
  startOutput();
  startInput();
  startLayers();
  startInspector();
  startErrors();
  startWhere();
  startPlay();
  if (store.page.runs.length > 1) startSides();
  chooseScored(0);
  if (store.page.runs.some((run) => run.epochs.length)) startHistory();
  selectMap(store.operation, 0, null);
  readAddress();
  startAddress();
  setTimeout(showCheck);
  // For the console of the browser, and for tests.
  globalThis.convoy = { store, largestDifference, logitsFor, readPicture };
  document.body.dataset.ready = "true";
}

function startRuns() {
  const { runs } = store.page;
  const group = byId("runs");
  group.hidden = runs.length < 2;
  const buttons = runs.map((run, index) => element("button", { type: "button", role: "radio", onclick: () => selectRun(index) }, run.label));
  group.append(...buttons);
  moveWithArrows(group, "button");
  const mark = () => {
    buttons.forEach((button, index) => button.setAttribute("aria-checked", String(index === store.run)));
    byId("sentence").textContent = `${currentRun().sentence}.`.replaceAll(" %", "\u00a0%");
    byId("flags").replaceChildren(...currentRun().flags.map((flag) => element("li", {}, `${flag}.`)));
    byId("flags").hidden = !currentRun().flags.length;
  };
  listen("run", mark);
  mark();
}

function showCheck() {
  // As many images as there is time for.
  const start = performance.now();
  let largest = 0;
  let images = 0;
  while (images < store.page.scored.labels.length && performance.now() - start < CHECK_MS) {
    largest = Math.max(largest, differenceFor(images));
    images += 1;
  }
  byId("check").textContent = say("check", { n: images, difference: largest.toExponential(0) });
  compute(); // the first pass is slow; this one has the time to expect
}

function largestDifference(count) {
  return Math.max(...Array.from({ length: count }, (_, index) => differenceFor(index)));
}

function differenceFor(index) {
  // The largest difference of an output here and of PyTorch, of all networks on one image.
  return Math.max(
    ...store.page.runs.map((run) => {
      const { data, shape } = store.arrays[run.logits];
      const outputs = logitsFor(scoredPixels(index), run);
      return outputs.reduce((largest, value, k) => Math.max(largest, Math.abs(value - data[index * shape[1] + k])), 0);
    }),
  );
}

start().catch((error) => {
  byId("problem").hidden = false;
  byId("problem").textContent = `${byId("problem").dataset.text} ${error.message}`;
  throw error;
});
