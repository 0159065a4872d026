// Several networks on the same picture, and the images on which they disagree.

import { byId, element, moveWithArrows } from "./elements.js";
import { imageButton } from "./input.js";
import { bars } from "./output.js";
import { listen, logitsFor, store } from "./store.js";
import { later } from "./elements.js";
import { say } from "./text.js";

const BARS = 5;

export function startSides() {
  byId("effect").textContent = store.page.effect && `${store.page.effect}.`;
  const show = later(showSides, 60);
  listen("values", show);
  showDisagreements();
}

function showSides() {
  const columns = store.page.runs.map((run, index) => {
    const logits = index === store.run ? store.values.at(-1).data : logitsFor(store.pixels, run);
    return element("div", {}, element("h3", {}, run.label), bars(logits, BARS));
  });
  byId("side-bars").replaceChildren(...columns);
}

function showDisagreements() {
  const { runs, scored, classes } = store.page;
  const indices = scored.labels.map((_, index) => index).filter((index) => runs.some((run) => run.predicted[index] !== runs[0].predicted[index]));
  const buttons = indices.map((index) => {
    const answers = runs.map((run) => `${run.label}: ${classes[run.predicted[index]] ?? say("no_class")}`).join("; ");
    return imageButton(index, say("disagreement", { label: classes[scored.labels[index]], answers }));
  });
  byId("disagreements").replaceChildren(...(buttons.length ? buttons : [element("p", { class: "note" }, say("no_disagreement"))]));
  moveWithArrows(byId("disagreements"), "button");
}
