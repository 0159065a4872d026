// The drawing pad. It has a picture of its own, in numbers: browsers that protect privacy change what they return of
// a canvas.

import { byId, pause } from "./elements.js";
import { colourOf } from "./painting.js";
import { readCharacter, WORKING_SIDE } from "./photo.js";
import { resample } from "./resample.js";
import { change, listen, store } from "./store.js";
import { write } from "./text.js";

const SIDE = WORKING_SIDE; // of the pad, in pixels
const RADIUS = 10; // of the pen, in pixels of the pad
const KEY_STEP = 8; // pixels
const WARM_UPS = 20;

const NOTHING = [SIDE, SIDE, 0, 0]; // left, top, right, bottom of a box
const EVERYTHING = [0, 0, SIDE, SIDE];

const pad = { ink: new Float32Array(SIDE * SIDE), image: null, unpainted: NOTHING, last: null, pen: [SIDE / 2, SIDE / 2], isDown: false, hasKeys: false };
let frame = 0;

export function startPad() {
  const canvas = byId("pad");
  canvas.width = canvas.height = SIDE;
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pad.hasKeys = false;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    if (store.source?.kind === "file") clearInk();
    drawTo(placeOf(event), true);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) drawTo(placeOf(each));
  });
  canvas.addEventListener("pointerup", () => readPad(1));
  canvas.addEventListener("keydown", drawWithKeys);
  canvas.addEventListener("focus", () => paintPad());
  canvas.addEventListener("blur", () => paintPad());
  listen("colours", () => paintPad());
  byId("clear").addEventListener("click", () => {
    clearInk();
    paintPad();
    write(byId("pad-message"), "pad_empty");
  });
  paintPad();
}

export async function warmUp() {
  // The browser compiles a function after some calls, so the first movements of the pen would be slow.
  for (let call = 0; call < WARM_UPS && store.source.kind === "scored"; call++) {
    readCharacter(pictureOf(2), store.page.size);
    await pause();
  }
}

function placeOf(event) {
  const box = byId("pad").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
}

function clearInk() {
  pad.ink.fill(0);
  pad.last = null;
}

function drawWithKeys(event) {
  const steps = { ArrowLeft: [-KEY_STEP, 0], ArrowRight: [KEY_STEP, 0], ArrowUp: [0, -KEY_STEP], ArrowDown: [0, KEY_STEP] };
  if (event.key === " ") {
    pad.isDown = !pad.isDown;
    if (pad.isDown && store.source?.kind === "file") clearInk();
    if (pad.isDown) drawTo(pad.pen, true);
    write(byId("pad-message"), pad.isDown ? "pen_down" : "pen_up");
  } else if (steps[event.key]) {
    pad.pen = pad.pen.map((place, axis) => Math.min(SIDE - 1, Math.max(0, place + steps[event.key][axis])));
    if (pad.isDown) drawTo(pad.pen);
  } else return;
  event.preventDefault();
  pad.hasKeys = true;
  paintPad();
}

function drawTo(place, isStart = false) {
  // A line of round ends from the last place, with soft edges.
  const from = isStart || !pad.last ? place : pad.last;
  const [left, top] = [0, 1].map((axis) => Math.max(0, Math.round(Math.min(from[axis], place[axis]) - RADIUS - 1)));
  const [right, bottom] = [0, 1].map((axis) => Math.min(SIDE, Math.round(Math.max(from[axis], place[axis]) + RADIUS + 1) + 1));
  const [dx, dy] = [place[0] - from[0], place[1] - from[1]];
  const length = dx * dx + dy * dy;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const share = length ? Math.min(1, Math.max(0, ((x - from[0]) * dx + (y - from[1]) * dy) / length)) : 0;
      const distance = Math.hypot(x - from[0] - share * dx, y - from[1] - share * dy);
      const ink = Math.min(1, Math.max(0, RADIUS + 0.5 - distance));
      if (ink > pad.ink[y * SIDE + x]) pad.ink[y * SIDE + x] = ink;
    }
  }
  pad.last = pad.pen = place;
  const box = pad.unpainted;
  pad.unpainted = [Math.min(box[0], left), Math.min(box[1], top), Math.max(box[2], right), Math.max(box[3], bottom)];
  if (!frame) frame = requestAnimationFrame(() => readPad(2));
}

function readPad(step) {
  // What `convoy predict` would do with a photograph of the pad: dark ink on white paper. `step`: 2 for every second
  // pixel, which is four times faster, while a stroke is drawn; 1 at its end.
  cancelAnimationFrame(frame);
  frame = 0;
  paintPad(pad.hasKeys ? EVERYTHING : pad.unpainted);
  const picture = pictureOf(step);
  const read = readCharacter(picture, store.page.size);
  if (!read) return;
  sayWhatWasRead(read);
  change({ pixels: repeated(read.pixels), source: { kind: "drawing", picture: { ...picture, ink: read.ink } } });
}

function pictureOf(step) {
  const side = SIDE / step;
  const grey = new Float32Array(side * side);
  for (let y = 0, i = 0; y < SIDE; y += step) {
    for (let x = 0; x < SIDE; x += step) grey[i++] = Math.round(255 * (1 - pad.ink[y * SIDE + x]));
  }
  return { grey, height: side, width: side };
}

export function sayWhatWasRead(read) {
  const several = read?.ink?.characters > 1;
  write(byId("pad-message"), !read ? "no_ink" : several ? "several_characters" : "", several ? { n: read.ink.characters } : {});
}

export function repeated(pixels) {
  // One grey channel for each channel of the network.
  const result = new Float32Array(pixels.length * store.page.channels);
  for (let k = 0; k < store.page.channels; k++) result.set(pixels, k * pixels.length);
  return result;
}

export function emptyPad() {
  if (!store.page.isHandwriting) return;
  clearInk();
  paintPad();
}

export function putOnPad(pixels) {
  // A test image, to draw on: its first channel, enlarged.
  if (!store.page.isHandwriting) return;
  const { size } = store.page;
  const enlarged = resample(pixels.subarray(0, size * size), [size, size], [SIDE, SIDE], "bilinear");
  pad.ink = enlarged.map((level) => level / 255);
  pad.last = null;
  paintPad();
}

function paintPad([left, top, right, bottom] = EVERYTHING) {
  const canvas = byId("pad");
  const context = canvas.getContext("2d");
  pad.image ??= context.createImageData(SIDE, SIDE);
  pad.unpainted = NOTHING;
  if (left >= right) return;
  const { data } = pad.image;
  const [red, green, blue] = colourOf("--ink");
  for (let y = top; y < bottom; y++) {
    for (let i = y * SIDE + left; i < y * SIDE + right; i++) {
      data[4 * i] = red;
      data[4 * i + 1] = green;
      data[4 * i + 2] = blue;
      data[4 * i + 3] = 255 * pad.ink[i];
    }
  }
  context.putImageData(pad.image, 0, 0, left, top, right - left, bottom - top);
  if (document.activeElement === canvas && pad.hasKeys) {
    context.strokeStyle = `rgb(${colourOf("--m1").join(" ")})`;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(pad.pen[0], pad.pen[1], RADIUS, 0, 7);
    context.stroke();
  }
}
