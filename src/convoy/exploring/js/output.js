// The probabilities for the current picture.

import { byId, element } from "./elements.js";
import { probabilitiesOf } from "./norms.js";
import { classOf, listen, store } from "./store.js";
import { percent, say, write } from "./text.js";

const MAX_BARS = 12;

export function startOutput() {
  listen("values", showProbabilities);
  listen("language", showProbabilities);
}

export function bars(logits, most = MAX_BARS) {
  // A list of classes with bars: all in their order, or with many classes the most probable ones.
  const { classes } = store.page;
  const shares = probabilitiesOf(logits);
  const best = classOf(logits);
  let order = classes.map((_, index) => index);
  if (order.length > most) order = order.sort((a, b) => shares[b] - shares[a]).slice(0, most);
  return element(
    "ol",
    { class: "bars" },
    ...order.map((index) =>
      element(
        "li",
        { class: index === best ? "best" : "" },
        element("span", { class: "name" }, classes[index]),
        element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "bar", style: `width: ${100 * shares[index]}%` })),
        element("span", { class: "value" }, percent(shares[index])),
      ),
    ),
  );
}

function showProbabilities() {
  const logits = store.values.at(-1).data;
  const best = classOf(logits);
  const share = probabilitiesOf(logits)[best];
  const name = store.page.classes[best];
  byId("answer").textContent = name;
  byId("answer-share").textContent = percent(share);
  const { source, page } = store;
  const label = source.kind === "scored" ? page.scored.labels[source.index] : null;
  const verdict = label === null ? "" : say(label === best ? "verdict_right" : "verdict_wrong", { label: page.classes[label] });
  byId("verdict").textContent = verdict;
  byId("verdict").className = label !== null && label !== best ? "wrong" : "";
  byId("spoken").textContent = `${say("spoken", { name, share: percent(share) })} ${verdict}`;
  byId("bars").replaceChildren(bars(logits));
  write(byId("speed"), "speed", { ms: store.milliseconds < 10 ? store.milliseconds.toFixed(1) : Math.round(store.milliseconds) });
}
