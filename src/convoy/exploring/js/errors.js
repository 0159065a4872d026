// The confusion matrix; the images behind a cell.

import { byId, element, moveWithArrows, table } from "./elements.js";
import { imageButton } from "./input.js";
import { currentRun, listen, store } from "./store.js";
import { percent, say, sentences } from "./text.js";

const MAX_CLASSES = 30; // of the matrix; with more, the most frequent confusions are a list

let openCell = null; // the arguments of showCell

export function startErrors() {
  listen("run", showErrors);
  listen("language", showErrorsAgain);
  showErrors();
}

function showErrorsAgain() {
  const cell = openCell;
  showErrors();
  if (cell) showCell(...cell);
}

function showErrors() {
  openCell = null;
  const { confusion } = currentRun();
  const { classes } = store.page;
  const cells = confusion.flatMap((row, label) => row.map((count, predicted) => ({ label, predicted, count })));
  const wrong = cells.filter((cell) => cell.label !== cell.predicted && cell.count).sort((a, b) => b.count - a.count);
  byId("matrix").replaceChildren(classes.length <= MAX_CLASSES ? matrix(confusion, classes, Math.max(1, ...wrong.map(({ count }) => count))) : list(wrong));
  moveWithArrows(byId("matrix"), "button");
  byId("cell-images").replaceChildren(element("p", { class: "note" }, say(wrong.length ? "choose_cell" : "no_mistakes")));
}

function matrix(confusion, classes, most) {
  const head = [element("td"), ...classes.map((name) => element("th", { scope: "col" }, name))];
  const rows = confusion.map((row, label) => [
    element("th", { scope: "row" }, classes[label]),
    ...row.map((count, predicted) => cellOf({ count, label, predicted, most, total: row.reduce((a, b) => a + b, 0) })),
  ]);
  const made = table({ class: classes.some((name) => name.length > 3) ? "confusion words" : "confusion" }, head, rows);
  made.prepend(element("caption", {}, say("matrix_caption")));
  return made;
}

function cellOf({ count, label, predicted, most, total }) {
  if (!count) return element("td", {}, element("span", { class: "zero", "aria-label": "0" }));
  if (label === predicted) return element("td", { class: "diagonal", title: percent(count / total) }, String(count));
  const { classes } = store.page;
  const strength = Math.round(20 + 60 * Math.sqrt(count / most));
  const text = say("cell_spoken", { count, label: classes[label], predicted: classes[predicted] });
  const style = `background: color-mix(in srgb, var(--m1) ${strength}%, var(--paper))`;
  return element("td", {}, element("button", { type: "button", style, "aria-label": text, title: text, onclick: () => showCell(label, predicted, count) }, String(count)));
}

function list(wrong) {
  const { classes } = store.page;
  const buttons = wrong.slice(0, MAX_CLASSES).map(({ label, predicted, count }) => {
    const text = say("cell_spoken", { count, label: classes[label], predicted: classes[predicted] });
    return element("li", {}, element("button", { type: "button", class: "link", onclick: () => showCell(label, predicted, count) }, text));
  });
  return element("ul", {}, ...buttons);
}

function showCell(label, predicted, count) {
  openCell = [label, predicted, count];
  const { classes, scored } = store.page;
  const run = currentRun();
  const images = scored.labels.flatMap((each, index) => (each === label && run.predicted[index] === predicted ? [index] : []));
  const text = say("cell_spoken", { count, label: classes[label], predicted: classes[predicted] });
  const strip = element("div", { class: "strip" }, ...images.map((index) => imageButton(index, text)));
  const note = images.length < count ? say("cell_some", { shown: images.length, count }) : "";
  byId("cell-images").replaceChildren(element("h3", {}, text), strip, element("p", { class: "note" }, sentences(say("to_the_pad"), note)));
  moveWithArrows(strip, "button");
}
