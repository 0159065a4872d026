// The weights of each epoch: filters, accuracy, and the prediction for the current picture. One slider for all networks.

import { byId, element, later } from "./elements.js";
import { bars } from "./output.js";
import { largest, paintMap } from "./painting.js";
import { logitsFor, weightsOf } from "./passes.js";
import { change, classOf, listen, store } from "./store.js";
import { percent, say, write } from "./text.js";

const BARS = 5;
const MAX_FILTERS = 32;

let turn = 0; // a newer picture or epoch ends the computation for an older one

export function startHistory() {
  const runs = runsWithEpochs();
  const slider = byId("epoch");
  slider.max = Math.max(...runs.map((run) => run.epochs.length)) - 1;
  slider.value = slider.max;
  slider.addEventListener("input", showEpoch);
  byId("epoch-inside").addEventListener("change", useInside);
  listen("values", later(showEpoch, 60));
  listen("language", showEpoch);
  listen("run", () => {
    byId("epoch-inside").checked = false;
  });
  showEpoch();
}

function runsWithEpochs() {
  return store.page.runs.filter((run) => run.epochs.length);
}

function epochOf(run) {
  // The last one, if this network was trained for fewer epochs than another.
  return Math.min(Number(byId("epoch").value), run.epochs.length - 1);
}

function useInside() {
  const run = store.page.runs[store.run];
  change({ epoch: byId("epoch-inside").checked && run.epochs.length ? epochOf(run) : null });
}

async function showEpoch() {
  turn += 1;
  const mine = turn;
  const runs = runsWithEpochs();
  const { epoch } = runs[0].epochs[epochOf(runs[0])];
  write(byId("epoch-text"), epoch === 0 ? "initial_weights" : "after_epoch", { epoch });
  byId("epoch").setAttribute("aria-valuetext", byId("epoch-text").textContent);
  const logits = await Promise.all(runs.map((run) => logitsFor(store.pixels, run, epochOf(run))));
  if (mine !== turn) return;
  byId("history-runs").replaceChildren(...runs.map((run, place) => historyOf(run, logits[place])));
  const current = store.page.runs[store.run];
  if (byId("epoch-inside").checked && current.epochs.length && store.epoch !== epochOf(current)) useInside();
}

function historyOf(run, logits) {
  const epoch = epochOf(run);
  const { accuracy } = run.epochs[epoch];
  return element(
    "div",
    { class: "history-run" },
    element("h3", {}, say(run.label)),
    curveOf(run, epoch),
    element("p", { class: "small" }, accuracy === null ? say("no_accuracy") : say("validation_accuracy", { accuracy: percent(accuracy) })),
    filtersOf(run, epoch),
    element("p", {}, say("epoch_prediction", { name: store.page.classes[classOf(logits)] })),
    bars(logits, BARS),
  );
}

function curveOf(run, epoch) {
  // Validation accuracy by epoch, with a mark at the chosen one.
  const points = run.epochs.map((each, place) => ({ place, accuracy: each.accuracy })).filter((point) => point.accuracy !== null);
  if (points.length < 2) return null;
  const [low, high] = [Math.min(...points.map((p) => p.accuracy)), Math.max(...points.map((p) => p.accuracy))];
  const x = (place) => 6 + (228 * place) / Math.max(1, run.epochs.length - 1);
  const y = (accuracy) => 64 - (56 * (accuracy - low)) / (high - low || 1);
  const line = points.map((p) => `${x(p.place).toFixed(1)},${y(p.accuracy).toFixed(1)}`).join(" ");
  const chosen = points.find((p) => p.place === epoch);
  const mark = chosen ? `<circle cx="${x(chosen.place)}" cy="${y(chosen.accuracy)}" r="4.5" fill="var(--m1)"/>` : "";
  const made = element("div", { class: "curve", role: "img", "aria-label": say("curve", { low: percent(low), high: percent(high) }) });
  made.innerHTML = `<svg viewBox="0 0 240 72"><polyline points="${line}" fill="none" stroke="var(--m0)" stroke-width="2"/>${mark}</svg>`;
  return made;
}

function filtersOf(run, epoch) {
  const first = run.graph.operations.find(({ name }) => name === "conv");
  if (!first) return null;
  const weight = weightsOf(run, epoch)[first.weights.weight];
  const [count, , rows, columns] = weight.shape;
  const size = weight.data.length / count;
  const scale = largest(weight.data);
  const canvases = Array.from({ length: Math.min(count, MAX_FILTERS) }, (_, filter) => {
    const canvas = element("canvas");
    paintMap(canvas, { data: weight.data, start: filter * size, rows, columns }, scale);
    return canvas;
  });
  return element("div", { class: "filters", role: "img", "aria-label": say("filters", { n: count }) }, ...canvases);
}
