// The steps from a picture to the network's input, as small pictures.

import { byId, element, setText } from "./elements.js";
import { colourOf, largest, paintMap, paintPixels, paintPlanes } from "./painting.js";
import { normalised } from "./passes.js";
import { currentRun, listen, store } from "./store.js";
import { joined, number, say, sentences } from "./text.js";

const figures = []; // of the picture, its pixels and its numbers; a stroke paints them often, so they stay

export function startSteps() {
  for (const isPixels of [false, true, true]) {
    const canvas = element("canvas", { class: isPixels ? "pixels" : "" });
    const [title, note] = [element("b"), element("span")];
    const figure = element("figure", {}, canvas, element("figcaption", {}, title, note));
    figures.push({ figure, canvas, title, note });
    byId("steps").append(figure);
  }
  listen("values", showSteps);
  listen("language", showSteps);
}

function showSteps() {
  // `picture`: { planes | grey, width, height, ink }; null for a test image, which is read as it is.
  const { picture } = store.source;
  const { size, channels } = store.page;
  const [first, pixels, numbers] = figures;
  first.figure.hidden = !picture;
  if (picture) {
    paintPicture(first.canvas, picture);
    name(first, say("step_picture"), picture.ink ? say(picture.ink.dark ? "found_dark" : "found_light", boxWords(picture.ink.box)) : say("cropped"));
  }
  paintPixels(pixels.canvas, store.pixels, channels, size);
  name(pixels, say("step_pixels", { size }), say(picture ? (picture.ink ? "scaled_as_mnist" : "scaled") : "as_stored"));
  const image = normalised(store.pixels, currentRun());
  paintMap(numbers.canvas, { data: image.data, start: 0, rows: size, columns: size }, largest(image.data));
  const { mean, std } = currentRun();
  name(numbers, say("step_numbers"), say("normalised", { mean: joined(mean.map((v) => number(v))), std: joined(std.map((v) => number(v))) }));
}

function name({ canvas, title, note }, text, more) {
  const isOther = [setText(title, text), setText(note, more)].some(Boolean);
  if (!isOther) return;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", sentences(text, more));
}

function boxWords([left, top, right, bottom]) {
  return { width: right - left, height: bottom - top };
}

function paintPicture(canvas, { planes, grey, width, height, ink }) {
  const context = paintPlanes(canvas, planes ?? [grey, grey, grey], width, height);
  if (!ink) return;
  context.strokeStyle = `rgb(${colourOf("--m1").join(" ")})`;
  context.lineWidth = Math.max(2, width / 100);
  context.strokeRect(ink.box[0], ink.box[1], ink.box[2] - ink.box[0], ink.box[3] - ink.box[1]);
}
