// The steps from a picture to the network's input, as small pictures.

import { byId, element } from "./elements.js";
import { largest, paintMap, paintPixels } from "./painting.js";
import { normalised } from "./passes.js";
import { currentRun, listen, store } from "./store.js";
import { number, say } from "./text.js";

export function startSteps() {
  listen("values", showSteps);
  listen("language", showSteps);
}

function showSteps() {
  // `picture`: { planes | grey, side or width and height, ink }; null for a test image, which is read as it is.
  const { picture } = store.source;
  const { size, channels } = store.page;
  const steps = byId("steps");
  steps.replaceChildren();
  const add = (canvas, title, note) => {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title}. ${note}`);
    steps.append(element("figure", {}, canvas, element("figcaption", {}, element("b", {}, title), " ", note)));
  };
  if (picture) {
    const canvas = element("canvas");
    paintPicture(canvas, picture);
    const note = picture.ink ? say(picture.ink.dark ? "found_dark" : "found_light", boxWords(picture.ink.box)) : say("cropped");
    add(canvas, say("step_picture"), note);
  }
  const input = element("canvas", { class: "pixels" });
  paintPixels(input, store.pixels, channels, size);
  add(input, say("step_pixels", { size }), say(picture ? (picture.ink ? "scaled_as_mnist" : "scaled") : "as_stored"));
  const image = normalised(store.pixels, currentRun());
  const numbers = element("canvas", { class: "pixels" });
  paintMap(numbers, { data: image.data, start: 0, rows: size, columns: size }, largest(image.data));
  const { mean, std } = currentRun();
  add(numbers, say("step_numbers"), say("normalised", { mean: mean.map((v) => number(v)).join(", "), std: std.map((v) => number(v)).join(", ") }));
}

function boxWords([left, top, right, bottom]) {
  return { width: right - left, height: bottom - top };
}

function paintPicture(canvas, { planes, grey, side, width = side, height = side, ink }) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = planes ? planes[k][i] : grey[i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  if (!ink) return;
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--m1");
  context.lineWidth = Math.max(2, width / 100);
  context.strokeRect(ink.box[0], ink.box[1], ink.box[2] - ink.box[0], ink.box[3] - ink.box[1]);
}
