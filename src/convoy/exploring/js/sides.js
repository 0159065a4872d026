// Several networks on the same picture, and the images on which they disagree.

import { byId, element, later, moveWithArrows } from "./elements.js";
import { imageButton } from "./input.js";
import { bars } from "./output.js";
import { logitsFor } from "./passes.js";
import { listen, store } from "./store.js";
import { flagsOf, joined, say } from "./text.js";

const BARS = 5;

let turn = 0; // a newer picture ends the computation for an older one

export function startSides() {
  listen("values", later(showSides, 60));
  listen("language", showSides);
  listen("language", showDisagreements);
  showDisagreements();
}

async function showSides() {
  turn += 1;
  const mine = turn;
  const { runs } = store.page;
  const logits = await Promise.all(runs.map((run) => logitsFor(store.pixels, run)));
  if (mine !== turn) return;
  const columns = runs.map((run, index) => {
    const flags = flagsOf(index).map((flag) => element("p", { class: "small note flag" }, flag)); // such as its protocol faults
    return element("div", {}, element("h3", {}, say(run.label)), bars(logits[index], BARS), ...flags);
  });
  byId("side-bars").replaceChildren(...columns);
}

function showDisagreements() {
  const { runs, scored, classes } = store.page;
  const indices = scored.labels.map((_, index) => index).filter((index) => runs.some((run) => run.predicted[index] !== runs[0].predicted[index]));
  const buttons = indices.map((index) => {
    const answers = joined(runs.map((run) => say("answer_of", { label: say(run.label), name: classes[run.predicted[index]] ?? say("no_class") })));
    return imageButton(index, say("disagreement", { label: classes[scored.labels[index]], answers }));
  });
  byId("disagreements").replaceChildren(...(buttons.length ? buttons : [element("p", { class: "note" }, say("no_disagreement"))]));
  moveWithArrows(byId("disagreements"), "button");
}
