// Starts the page: reads its arrays and connects its parts.

import { languageInAddress, readAddress, startAddress } from "./address.js";
import { readArrays } from "./arrays.js";
import { byId, element, moveWithArrows } from "./elements.js";
import { startErrors } from "./errors.js";
import { startHistory } from "./history.js";
import { chooseScored, readPicture, startInput } from "./input.js";
import { startInspector } from "./inspect.js";
import { startLanguage } from "./language.js";
import { startLayers } from "./layers.js";
import { startOutput } from "./output.js";
import { startPad, warmUp } from "./pad.js";
import { readColours } from "./painting.js";
import { logitsFor, logitsHere, serve, startPasses } from "./passes.js";
import { startPlay } from "./play.js";
import { startSides } from "./sides.js";
import { startSteps } from "./steps.js";
import { announce, change, currentRun, listen, scoredPixels, selectMap, selectRun, store } from "./store.js";
import { flagsOf, say, write } from "./text.js";
import { startWhere } from "./where.js";

const CHECK_MS = 300; // for the comparison of outputs with PyTorch's

async function start() {
  store.page = JSON.parse(byId("content").textContent);
  startLanguage(languageInAddress());
  store.arrays = await readArrays(byId("arrays").textContent, store.page.arrays);
  readColours();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    announce("colours");
    announce("values");
  });
  startPasses(store.page, store.arrays);
  startRuns();
  if (store.page.isHandwriting) startPad();
  startOutput();
  startSteps();
  startInput();
  startLayers();
  startInspector();
  startErrors();
  startWhere();
  startPlay();
  if (store.page.runs.length > 1) startSides();
  await chooseScored(0);
  if (store.page.runs.some((run) => run.epochs.length)) startHistory();
  selectMap(store.operation, 0, null);
  await readAddress();
  startAddress();
  setTimeout(showCheck);
  // For the console of the browser, and for tests.
  globalThis.convoy = { store, largestDifference, logitsFor, logitsHere, readPicture };
  document.body.dataset.ready = "true";
}

function startRuns() {
  const { runs } = store.page;
  const group = byId("runs");
  group.hidden = runs.length < 2;
  const buttons = runs.map((_, index) => element("button", { type: "button", role: "radio", onclick: () => selectRun(index) }));
  group.append(...buttons);
  moveWithArrows(group, "button");
  const mark = () => {
    buttons.forEach((button, index) => {
      button.setAttribute("aria-checked", String(index === store.run));
      button.textContent = say(runs[index].label);
    });
    byId("sentence").textContent = say(`sentence_${store.run}`).replaceAll(" %", "\u00a0%");
    const flags = flagsOf(store.run);
    byId("flags").replaceChildren(...flags.map((flag) => element("li", {}, flag)));
    byId("flags").hidden = !flags.length;
  };
  listen("run", mark);
  listen("language", mark);
  mark();
}

async function showCheck() {
  // As many images as there is time for.
  const start = performance.now();
  let largest = 0;
  let images = 0;
  while (images < store.page.scored.labels.length && performance.now() - start < CHECK_MS) {
    largest = Math.max(largest, await differenceFor(images, logitsFor));
    images += 1;
  }
  write(byId("check"), "check", { n: images, difference: largest.toExponential(0) });
  await change({}); // the first pass is slow; this one has the time to expect
  if (store.page.isHandwriting) warmUp();
}

async function largestDifference(count, compute = logitsFor) {
  let largest = 0;
  for (let index = 0; index < count; index++) largest = Math.max(largest, await differenceFor(index, compute));
  return largest;
}

async function differenceFor(index, compute) {
  // The largest difference of an output here and of PyTorch, of all networks on one image.
  let largest = 0;
  for (const run of store.page.runs) {
    const { data, shape } = store.arrays[run.logits];
    const outputs = await compute(scoredPixels(index), run);
    outputs.forEach((value, k) => (largest = Math.max(largest, Math.abs(value - data[index * shape[1] + k]))));
  }
  return largest;
}

if (!globalThis.document) serve();
else {
  start().catch((error) => {
    byId("problem").hidden = false;
    byId("problem").textContent = `${byId("problem").dataset.text} ${error.message}`;
    throw error;
  });
}
