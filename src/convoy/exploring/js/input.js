// Pictures from files, the clipboard and the camera, test images, and the steps from a picture to the network's input.

import { startCamera } from "./camera.js";
import { byId, element, moveWithArrows } from "./elements.js";
import { paintPixels } from "./painting.js";
import { readCharacter } from "./photo.js";
import { emptyPad, putOnPad, repeated, sayWhatWasRead } from "./pad.js";
import { fitSquare } from "./resample.js";
import { change, currentRun, imageOf, listen, scoredPixels, store } from "./store.js";
import { say, write } from "./text.js";

const LARGEST_SIDE = 2048; // pixels of a picture that is read

export function startInput() {
  for (const id of ["file", "camera"]) {
    byId(id).addEventListener("change", (event) => readFile(event.target.files[0]));
  }
  startCamera((video) => readPicture(pictureOf(video, video.videoWidth, video.videoHeight)));
  addEventListener("paste", (event) => readFile([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    readFile(event.dataTransfer.files[0]);
  });
  byId("which").addEventListener("change", fillFilmstrip);
  listen("run", fillFilmstrip);
  listen("language", fillFilmstrip);
  listen("values", markChosen);
  const { predicted } = currentRun();
  if (store.page.scored.labels.every((label, index) => predicted[index] === label)) byId("which").value = "all";
  fillFilmstrip();
}

async function readFile(file) {
  if (!file) return;
  try {
    if (await hasSixteenBits(file)) return write(byId("pad-message"), "sixteen_bits", { name: file.name });
    const bitmap = await createImageBitmap(file);
    readPicture(pictureOf(bitmap, bitmap.width, bitmap.height));
  } catch {
    write(byId("pad-message"), "unreadable", { name: file.name });
  }
}

async function hasSixteenBits(file) {
  // A PNG file whose lower 8 bits the browser would drop; `convoy predict` refuses it too.
  const head = new Uint8Array(await file.slice(0, 25).arrayBuffer());
  return head[0] === 0x89 && head[1] === 0x50 && head[24] === 16;
}

function pictureOf(source, ...size) {
  // Red, green and blue of an image or a video, upright, on a white background.
  const scale = Math.min(1, LARGEST_SIDE / Math.max(...size));
  const [width, height] = size.map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const planes = [0, 1, 2].map((k) => Float32Array.from({ length: width * height }, (_, i) => data[4 * i + k]));
  return { planes, width, height };
}

function greyOf([red, green, blue]) {
  // Pillow's mode L, in integers as there.
  return red.map((_, i) => (red[i] * 19595 + green[i] * 38470 + blue[i] * 7471 + 32768) >> 16);
}

export function readPicture({ planes, width, height }) {
  const { size, channels, isHandwriting } = store.page;
  emptyPad();
  const picture = { planes, width, height, ink: null };
  let pixels;
  if (isHandwriting) {
    const read = readCharacter({ grey: greyOf(planes), height, width }, size);
    sayWhatWasRead(read);
    if (!read) return;
    pixels = repeated(read.pixels);
    picture.ink = read.ink;
  } else {
    const square = fitSquare(planes, [height, width], size);
    const grey = () => square[0].map((_, i) => Math.round(0.299 * square[0][i] + 0.587 * square[1][i] + 0.114 * square[2][i]));
    const parts = channels === 3 ? square : [grey()];
    pixels = new Float32Array(channels * size * size);
    parts.forEach((plane, k) => pixels.set(plane, k * size * size));
    write(byId("pad-message"), "");
  }
  return change({ pixels, source: { kind: "file", picture } });
}

export function chooseScored(index) {
  putOnPad(Float32Array.from(scoredPixels(index)));
  write(byId("pad-message"), "");
  return change({ pixels: Float32Array.from(scoredPixels(index)), source: { kind: "scored", index, picture: null } });
}

function fillFilmstrip() {
  const { scored, classes } = store.page;
  const { predicted } = currentRun();
  const which = byId("which").value;
  const indices = scored.labels.map((_, index) => index).filter((index) => {
    if (which === "all") return true;
    if (which === "mistakes") return predicted[index] !== scored.labels[index];
    return scored.labels[index] === Number(which);
  });
  const strip = byId("filmstrip");
  strip.replaceChildren(...indices.map((index) => imageButton(index, describe(scored.labels[index], predicted[index], classes))));
  if (!indices.length) strip.append(element("p", { class: "note" }, say("none_here")));
  moveWithArrows(strip, "button");
  markChosen();
}

function describe(label, predicted, classes) {
  return label === predicted ? say("image_right", { label: classes[label] }) : say("image_wrong", { label: classes[label], predicted: classes[predicted] ?? say("no_class") });
}

export function imageButton(index, text) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  paintPixels(canvas, scoredPixels(index), store.page.channels, store.page.size);
  const isWrong = currentRun().predicted[index] !== store.page.scored.labels[index];
  return element(
    "button",
    { type: "button", class: isWrong ? "image wrong" : "image", title: text, "aria-label": text, "data-index": index, onclick: () => chooseScored(index) },
    canvas,
  );
}

export function imageFigure(images, index, caption) {
  const canvas = element("canvas", { role: "img", "aria-label": caption });
  paintPixels(canvas, imageOf(images, index), store.page.channels, store.page.size);
  return element("figure", {}, canvas, element("figcaption", {}, caption));
}

function markChosen() {
  const chosen = store.source?.kind === "scored" ? String(store.source.index) : "";
  for (const button of document.querySelectorAll("button.image")) {
    const isChosen = String(button.dataset.index === chosen);
    if (button.getAttribute("aria-pressed") !== isChosen) button.setAttribute("aria-pressed", isChosen);
  }
}
