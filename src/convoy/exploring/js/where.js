// Where the network looked: occlusion, class activation maps without gradients, and the nearest training images.

import { byId, element, later, pause } from "./elements.js";
import { imageFigure } from "./input.js";
import { paintOverlay, paintPixels } from "./painting.js";
import { probabilitiesOf } from "./norms.js";
import { logitsFor } from "./passes.js";
import { classOf, currentRun, listen, mapOf, mapsOf, store } from "./store.js";
import { number, say, write } from "./text.js";

const QUICK_MS = 1200; // above it, a map is computed on request only
const REST_MS = 150; // without a change, until the maps are computed: not for every step of a stroke
const POSITIONS = 12; // of the occluding square, along each axis
const MAX_MAPS = 48; // that a class activation map combines
const NEIGHBOURS = 8;

let turn = 0; // a newer picture ends the computation for an older one
let isVisible = false;

export function startWhere() {
  const predicted = element("option", { value: "" });
  write(predicted, "predicted_class");
  byId("where-class").append(
    predicted,
    ...store.page.classes.map((name, index) => element("option", { value: index }, name)),
  );
  byId("where-class").addEventListener("change", () => showMaps(false));
  byId("where-compute").addEventListener("click", () => showMaps(true));
  const showLater = later(() => showMaps(false), REST_MS);
  listen("values", () => {
    turn += 1;
    showLater();
  });
  listen("language", showNeighbours);
  // Only a part that can be seen costs time.
  new IntersectionObserver((entries) => {
    isVisible = entries.at(-1).isIntersecting;
    showMaps(false);
  }).observe(byId("where"));
}

async function showMaps(isRequested) {
  turn += 1;
  if (!store.values || !isVisible) return;
  const passes = POSITIONS ** 2 + MAX_MAPS;
  const isSlow = passes * store.fastest > QUICK_MS;
  byId("where-compute").hidden = !isSlow;
  showNeighbours();
  paintPixels(byId("occlusion-image"), store.pixels, store.page.channels, store.page.size);
  paintPixels(byId("activation-image"), store.pixels, store.page.channels, store.page.size);
  if (isSlow && !isRequested) {
    for (const name of ["occlusion", "activation"]) byId(`${name}-map`).hidden = true;
    write(byId("where-note"), "where_slow", { seconds: Math.ceil((passes * store.fastest) / 1000) });
    return;
  }
  const mine = turn;
  const isCurrent = () => mine === turn;
  const chosen = byId("where-class").value;
  const target = chosen === "" ? classOf(store.values.at(-1).data) : Number(chosen);
  write(byId("where-note"), "where_for", { name: store.page.classes[target] });
  await paintOver("occlusion", await occlusionMap(target, isCurrent));
  await paintOver("activation", await activationMap(target, isCurrent));
}

async function paintOver(name, map) {
  if (!map) return;
  const canvas = byId(`${name}-map`);
  canvas.hidden = false;
  paintOverlay(canvas, map);
  const place = map.data.indexOf(map.data.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0));
  const [y, x] = [Math.floor(place / map.columns), place % map.columns];
  write(byId(`${name}-text`), `${name}_text`, { value: number(-100 * map.data[place]), y: Math.round((100 * (y + 0.5)) / map.rows), x: Math.round((100 * (x + 0.5)) / map.columns) });
}

async function shareOf(pixels, target) {
  return probabilitiesOf(await logitsFor(pixels, currentRun(), store.epoch))[target];
}

async function occlusionMap(target, isCurrent) {
  // How much less probable the class is when a grey square hides a part (Zeiler and Fergus 2014). The square has the
  // mean of the training images, which is zero for the network.
  const { size, channels } = store.page;
  const pixels = store.pixels;
  const side = Math.max(2, Math.round(size / 6));
  const count = Math.min(POSITIONS, size);
  const unhidden = await shareOf(pixels, target);
  const data = new Float32Array(count * count);
  const { mean } = currentRun();
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < count; column++) {
      const hidden = Float32Array.from(pixels);
      const [top, left] = [row, column].map((place) => Math.round(((place + 0.5) * size) / count - side / 2));
      for (let channel = 0; channel < channels; channel++) {
        for (let y = Math.max(0, top); y < Math.min(size, top + side); y++) {
          for (let x = Math.max(0, left); x < Math.min(size, left + side); x++) hidden[(channel * size + y) * size + x] = 255 * mean[channel];
        }
      }
      data[row * count + column] = unhidden - (await shareOf(hidden, target));
    }
    await pause();
    if (!isCurrent()) return null;
  }
  return { data, start: 0, rows: count, columns: count };
}

async function activationMap(target, isCurrent) {
  // Score-CAM (Wang et al. 2020): each map of the last convolution, enlarged and scaled to 0..1, hides what it does not
  // respond to; its weight is the softmax over the maps of the probability that remains.
  const { operations } = currentRun().graph;
  const last = operations.findLastIndex(({ name, shape }) => ["conv", "relu"].includes(name) && shape.length === 4 && shape[2] > 1);
  if (last < 0) return null;
  const value = store.values[last + 1];
  const pixels = store.pixels;
  const { count, rows, columns } = mapsOf(value.shape);
  const maps = Array.from({ length: count }, (_, map) => scaled(mapOf(value, map))).filter(Boolean);
  maps.sort((a, b) => b.height - a.height);
  const shares = [];
  for (const map of maps.slice(0, MAX_MAPS)) {
    shares.push(await shareOf(masked(pixels, map, currentRun().mean), target));
    if (shares.length % 8 === 0) await pause();
    if (!isCurrent()) return null;
  }
  if (!shares.length) return null;
  const weights = probabilitiesOf(Float32Array.from(shares));
  const data = new Float32Array(rows * columns);
  weights.forEach((weight, place) => maps[place].data.forEach((v, i) => (data[i] += weight * v)));
  const low = data.reduce((a, b) => Math.min(a, b));
  return { data: data.map((v) => v - low), start: 0, rows, columns };
}

function scaled({ data, start, rows, columns }) {
  const map = data.subarray(start, start + rows * columns);
  const [low, high] = [map.reduce((a, b) => Math.min(a, b)), map.reduce((a, b) => Math.max(a, b))];
  return high > low ? { data: map.map((v) => (v - low) / (high - low)), rows, columns, height: high } : null;
}

function masked(pixels, { data, rows, columns }, mean) {
  const { size, channels } = store.page;
  const result = new Float32Array(pixels.length);
  for (let i = 0; i < size * size; i++) {
    const keep = interpolated(data, rows, columns, (Math.floor(i / size) + 0.5) / size, ((i % size) + 0.5) / size);
    for (let channel = 0; channel < channels; channel++) {
      const place = channel * size * size + i;
      result[place] = keep * pixels[place] + (1 - keep) * 255 * mean[channel];
    }
  }
  return result;
}

function interpolated(data, rows, columns, down, across) {
  const [y, x] = [Math.max(0, down * rows - 0.5), Math.max(0, across * columns - 0.5)];
  const [top, left] = [Math.min(rows - 1, Math.floor(y)), Math.min(columns - 1, Math.floor(x))];
  const [bottom, right] = [Math.min(rows - 1, top + 1), Math.min(columns - 1, left + 1)];
  const row = (r) => data[r * columns + left] + (x - left) * (data[r * columns + right] - data[r * columns + left]);
  return row(top) + (y - top) * (row(bottom) - row(top));
}

function showNeighbours() {
  const { features } = currentRun();
  byId("neighbours-box").hidden = !features;
  if (!features) return;
  const nearest = neighbours(store.values[features.value].data, store.arrays[features.quantised]);
  const { training, classes } = store.page;
  byId("neighbours").replaceChildren(
    ...nearest.map(({ index, similarity }) => imageFigure(training, index, say("neighbour", { label: classes[training.labels[index]], similarity: similarity.toFixed(2) }))),
  );
}

export function neighbours(feature, sample) {
  // The training images with the largest cosine of the last features.
  const [count, length] = sample.shape;
  const norm = (data, start) => Math.hypot(...data.subarray(start, start + length)) || 1;
  const own = norm(feature, 0);
  const found = Array.from({ length: count }, (_, index) => {
    let product = 0;
    for (let k = 0; k < length; k++) product += feature[k] * sample.data[index * length + k];
    return { index, similarity: product / own / norm(sample.data, index * length) };
  });
  return found.sort((a, b) => b.similarity - a.similarity).slice(0, NEIGHBOURS);
}
