// The probabilities for the current picture.

import { byId, element, later, setText } from "./elements.js";
import { probabilitiesOf } from "./norms.js";
import { classOf, listen, store } from "./store.js";
import { percent, say, write } from "./text.js";

const MAX_BARS = 12;
const SPOKEN_MS = 300; // after the last change: a screen reader does not read every step of a stroke

export function startOutput() {
  byId("bars").append(element("ol", { class: "bars" }));
  listen("values", showProbabilities);
  listen("values", later(speak, SPOKEN_MS));
  listen("language", showProbabilities);
  listen("language", speak);
}

export function bars(logits, most = MAX_BARS) {
  // A list of classes with bars: all in their order, or with many classes the most probable ones.
  const list = element("ol", { class: "bars" });
  fillBars(list, logits, most);
  return list;
}

function fillBars(list, logits, most) {
  const { classes } = store.page;
  const shares = probabilitiesOf(logits);
  const best = classOf(logits);
  let order = classes.map((_, index) => index);
  if (order.length > most) order = order.sort((a, b) => shares[b] - shares[a]).slice(0, most);
  while (list.children.length < order.length) list.append(emptyBar());
  order.forEach((index, place) => {
    const row = list.children[place]; // changed, not made again: a stroke does so often
    const [name, track, value] = row.children;
    row.classList.toggle("best", index === best);
    setText(name, classes[index]);
    track.firstChild.style.width = `${100 * shares[index]}%`;
    setText(value, percent(shares[index]));
  });
}

function emptyBar() {
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "bar" }));
  return element("li", {}, element("span", { class: "name" }), track, element("span", { class: "value" }));
}

function showProbabilities() {
  const logits = store.values.at(-1).data;
  const best = classOf(logits);
  const { source, page } = store;
  const label = source.kind === "scored" ? page.scored.labels[source.index] : null;
  setText(byId("answer"), page.classes[best]);
  setText(byId("answer-share"), percent(probabilitiesOf(logits)[best]));
  setText(byId("verdict"), label === null ? "" : say(label === best ? "verdict_right" : "verdict_wrong", { label: page.classes[label] }));
  byId("verdict").className = label !== null && label !== best ? "wrong" : "";
  fillBars(byId("bars").firstChild, logits, MAX_BARS);
}

function speak() {
  const share = byId("answer-share").textContent;
  setText(byId("spoken"), `${say("spoken", { name: byId("answer").textContent, share })} ${byId("verdict").textContent}`);
  write(byId("speed"), "speed", { ms: store.milliseconds < 10 ? store.milliseconds.toFixed(1) : Math.round(store.milliseconds) });
}
