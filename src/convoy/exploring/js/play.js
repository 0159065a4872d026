// Kernel, stride and padding to play with: what they do to the size of the map, to parameters and FLOPs.

import { byId, element, table } from "./elements.js";
import { currentRun, listen, store, weightShape } from "./store.js";
import { say, write } from "./text.js";

const NAMES = ["kernel", "stride", "padding"];
const CELL = 13; // pixels of a cell in the picture
const MOST = 34; // cells of the picture, along a side

let layer = null; // the convolution that the numbers are for
let place = 0; // of the kernel, in the output

export function startPlay() {
  for (const name of NAMES) byId(`play-${name}`).addEventListener("input", () => showPlay());
  byId("play-step").addEventListener("click", () => showPlay(place + 1));
  byId("play-reset").addEventListener("click", () => takeLayer(true));
  listen("run", () => takeLayer(true));
  listen("selection", () => takeLayer(false));
  listen("language", () => showPlay(place));
  takeLayer(true);
}

function takeLayer(isForced) {
  // The open layer if it is a convolution, at first the first one.
  const { operations } = currentRun().graph;
  const open = operations[store.operation];
  const chosen = open?.name === "conv" ? open : isForced || !layer ? (layer && !isForced ? layer : operations.find(({ name }) => name === "conv")) : layer;
  if (!chosen || (chosen === layer && !isForced)) return;
  layer = chosen;
  const { settings, inputs } = layer;
  const [, , , kernel] = weightShape(layer);
  byId("play-kernel").value = kernel;
  byId("play-stride").value = settings.stride[1];
  byId("play-padding").value = settings.padding[1];
  write(byId("play-layer"), "play_layer", { layer: layer.layer, size: inputs[0] ? operations[inputs[0] - 1].shape.at(-1) : store.page.size });
  showPlay(0);
}

export function sizesOf({ side, kernel, stride, padding, inMaps, outMaps, groups, hasBias }) {
  // Of a square convolution: side of the output, parameters, FLOPs (2 per multiply-add).
  const output = Math.max(0, Math.floor((side + 2 * padding - kernel) / stride) + 1);
  const weights = kernel * kernel * (inMaps / groups) * outMaps;
  return { output, parameters: weights + (hasBias ? outMaps : 0), flops: 2 * weights * output * output };
}

function showPlay(next = 0) {
  if (!layer) return;
  const { operations } = currentRun().graph;
  const [kernel, stride, padding] = NAMES.map((name) => Number(byId(`play-${name}`).value));
  NAMES.forEach((name, k) => (byId(`play-${name}-value`).textContent = [kernel, stride, padding][k]));
  const weight = weightShape(layer);
  const shape = layer.inputs[0] ? operations[layer.inputs[0] - 1].shape : [1, store.page.channels, store.page.size, store.page.size];
  const { settings } = layer;
  const fixed = { side: shape[3], inMaps: shape[1], outMaps: weight[0], groups: settings.groups, hasBias: layer.settings.bias ?? "bias" in layer.weights };
  const now = sizesOf({ ...fixed, kernel, stride, padding });
  const before = sizesOf({ ...fixed, kernel: weight[3], stride: settings.stride[1], padding: settings.padding[1] });
  place = now.output ? next % now.output ** 2 : 0;
  const row = (name, key) => [say(name), before[key].toLocaleString("en"), now[key].toLocaleString("en"), ratio(now[key], before[key])];
  byId("play-numbers").replaceChildren(
    table({ class: "numbers" }, ["", say("play_network"), say("play_yours"), ""], [row("play_output", "output"), row("play_parameters", "parameters"), row("play_flops", "flops")]),
    element("p", { class: "formula" }, now.output ? `⌊(${shape[3]} + 2 × ${padding} − ${kernel}) / ${stride}⌋ + 1 = ${now.output}` : say("play_too_small")),
  );
  byId("play-picture").innerHTML = picture({ side: shape[3], kernel, stride, padding, output: now.output });
}

function ratio(now, before) {
  return before && now !== before ? `× ${(now / before).toFixed(2)}` : "";
}

function picture({ side, kernel, stride, padding, output }) {
  // The input with its padding, the place of the kernel, and the output with the pixel that it makes.
  const total = side + 2 * padding;
  const cell = Math.min(CELL, (CELL * MOST) / total);
  const square = (x, y, size, attributes) => `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${size.toFixed(1)}" height="${size.toFixed(1)}" ${attributes}/>`;
  const grid = (left, top, count) => {
    const lines = Array.from({ length: count + 1 }, (_, k) => {
      const [a, b] = [(left + k * cell).toFixed(1), (top + k * cell).toFixed(1)];
      return `M${a} ${top}v${count * cell}M${left} ${b}h${count * cell}`;
    });
    return `<path d="${lines.join("")}" stroke="var(--rule)" stroke-width="0.7" fill="none"/>`;
  };
  const [y, x] = output ? [Math.floor(place / output), place % output] : [0, 0];
  const right = total * cell + 30;
  const parts = [
    square(0, 0, total * cell, 'fill="var(--wash)"'),
    square(padding * cell, padding * cell, side * cell, 'fill="var(--m0)" fill-opacity="0.18"'),
    grid(0, 0, total),
    square(x * stride * cell, y * stride * cell, kernel * cell, 'fill="var(--m1)" fill-opacity="0.3" stroke="var(--m1)" stroke-width="1.6"'),
    output ? square(right, 0, output * cell, 'fill="var(--m0)" fill-opacity="0.18"') + grid(right, 0, output) : "",
    output ? square(right + x * cell, y * cell, cell, 'fill="var(--m1)"') : "",
  ];
  const [width, height] = [right + Math.max(1, output) * cell + 2, Math.max(total, output) * cell + 2];
  return `<svg viewBox="-1 -1 ${width} ${height}" width="${width}" role="img" aria-label="${say("play_picture", { side, output })}">${parts.join("")}</svg>`;
}
