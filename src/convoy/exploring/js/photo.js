// Finds the character in a drawing or a photograph and converts it as MNIST was made. The same steps and numbers as
// convoy/data/photo.py, whose comments give the reasons. A picture is { grey, height, width }, grey values in 0..255.

import { blur, continued, dilation, mirror, opening } from "./filters.js";
import { resample } from "./resample.js";

const SIDE = 28;
const BOX = 20;
export const WORKING_SIDE = 256;
const MIN_CONTRAST = 16;
const MIN_PART = 0.08;
const MIN_HEIGHT = 0.5;

export function readCharacter(picture, size) {
  // Returns { pixels, ink }: size x size, white on black, and where the character is; null if there is no ink.
  let pixels;
  let ink = null;
  const { grey, height, width } = picture;
  if (width === height && (width === SIDE || width === size) && median(borderOf(grey, height, width)) < MIN_CONTRAST) {
    pixels = { data: grey, side: width };
  } else {
    ink = findInk(picture);
    if (!ink) return null;
    pixels = { data: ink.pixels, side: SIDE };
  }
  const data = pixels.side === size ? pixels.data : resample(pixels.data, [pixels.side, pixels.side], [size, size], "bilinear", { isByte: true });
  return { pixels: data, ink };
}

function findInk(picture) {
  const small = thumbnail(picture);
  const { height, width } = small;
  const light = blur(small.grey, height, width, Math.max(height, width) / WORKING_SIDE);
  const paperLevel = median(borderOf(light, height, width));
  const [lowest, highest] = extremes(light);
  const dark = paperLevel - lowest > highest - paperLevel;
  if (dark) for (let i = 0; i < light.length; i++) light[i] = 255 - light[i];
  const paper = paperOf(light, height, width);
  const ink = light;
  for (let i = 0; i < ink.length; i++) ink[i] = Math.max(light[i] - paper[i], 0);
  const parts = largeParts(ink, otsuThreshold(ink), height, width);
  const level = median(ink.filter((_, i) => parts[i] > 0));
  if (!(level >= MIN_CONTRAST)) return null;
  const box = boundsOf(parts, height, width);
  const [boxHeight, boxWidth] = [box[3] - box[1], box[2] - box[0]];
  const strokes = crop(parts, width, box);
  for (let i = 0; i < strokes.length; i++) strokes[i] = strokes[i] > 0 ? 1 : 0;
  const near = dilation(strokes, boxHeight, boxWidth, 2);
  const intensity = crop(ink, width, box);
  for (let i = 0; i < intensity.length; i++) intensity[i] = Math.min(1, Math.max(0, intensity[i] / level)) * near[i];
  const scale = picture.width / width;
  return {
    dark,
    box: box.map((edge) => Math.round(edge * scale)), // left, top, right, bottom in pixels of the picture
    characters: countCharacters(parts, width),
    pixels: centred(intensity, boxHeight, boxWidth),
  };
}

function thumbnail({ grey, height, width }) {
  if (Math.max(height, width) <= WORKING_SIDE) return { grey, height, width };
  const scale = WORKING_SIDE / Math.max(height, width);
  const [newHeight, newWidth] = [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
  return { grey: resample(grey, [height, width], [newHeight, newWidth], "box", { isByte: true }), height: newHeight, width: newWidth };
}

function borderOf(values, height, width) {
  const border = [];
  for (let x = 0; x < width; x++) border.push(values[x], values[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) border.push(values[y * width], values[(y + 1) * width - 1]);
  return border;
}

function median(values) {
  const sorted = new Float32Array(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function extremes(values) {
  let lowest = Infinity;
  let highest = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (values[i] < lowest) lowest = values[i];
    if (values[i] > highest) highest = values[i];
  }
  return [lowest, highest];
}

function paperOf(light, height, width) {
  // The brightness without ink: an opening wider than a stroke, smoothed.
  const margin = Math.max(2, Math.floor(Math.max(height, width) / 4));
  const [tall, wide] = [height + 2 * margin, width + 2 * margin];
  const opened = opening(continued(light, height, width, margin), tall, wide, margin);
  // The mean of each block is blurred instead of each pixel: within 0.2 %, in a fiftieth of the time.
  const block = Math.max(1, Math.floor(margin / 16));
  const [blockRows, blockColumns] = [Math.ceil(tall / block), Math.ceil(wide / block)];
  const means = blockMeans(opened, [tall, wide], [blockRows, blockColumns], block);
  // A mean is a blur of its own, with the variance of a uniform distribution.
  const sigma = Math.sqrt((margin / 2 / block) ** 2 - (1 - 1 / block ** 2) / 12);
  const smooth = blur(means, blockRows, blockColumns, sigma);
  return enlarged(smooth, [blockRows, blockColumns], block, margin, [height, width]);
}

function blockMeans(values, [height, width], [rows, columns], block) {
  const result = new Float32Array(rows * columns);
  const size = block ** 2;
  for (let y = 0; y < rows * block; y++) {
    const from = mirror(y, height) * width;
    let to = Math.floor(y / block) * columns;
    for (let x = 0; x < columns * block; to++) {
      for (const end = x + block; x < end; x++) result[to] += values[from + (x < width ? x : mirror(x, width))] / size;
    }
  }
  return result;
}

function enlarged(values, [rows, columns], block, margin, [height, width]) {
  // Interpolates the values of blocks at each pixel, without the margin.
  const [down, across] = [placesOf(height, rows, block, margin), placesOf(width, columns, block, margin)];
  const result = new Float32Array(height * width);
  for (let y = 0, place = 0; y < height; y++) {
    const top = down.low[y] * columns;
    for (let x = 0; x < width; x++, place++) {
      const i = top + across.low[x];
      const share = across.share[x];
      const upper = values[i] + share * (values[i + 1] - values[i]);
      const lower = values[i + columns] + share * (values[i + columns + 1] - values[i + columns]);
      result[place] = upper + down.share[y] * (lower - upper);
    }
  }
  return result;
}

function placesOf(length, count, block, margin) {
  // For each pixel of a line: the block before it, and how far it is on the way to the next one.
  const [low, share] = [new Int32Array(length), new Float64Array(length)];
  for (let position = 0; position < length; position++) {
    const exact = Math.min(count - 1, Math.max(0, (position + margin + 0.5) / block - 0.5));
    low[position] = Math.min(Math.max(0, count - 2), Math.floor(exact));
    share[position] = exact - low[position];
  }
  return { low, share };
}

function otsuThreshold(values) {
  const BINS = 128;
  let [low, high] = extremes(values);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const counts = new Float64Array(BINS);
  for (let i = 0; i < values.length; i++) counts[Math.min(BINS - 1, Math.floor(((values[i] - low) / (high - low)) * BINS))] += 1;
  const centre = (bin) => low + ((bin + 0.5) / BINS) * (high - low);
  const total = values.length;
  const totalSum = counts.reduce((sum, count, bin) => sum + count * centre(bin), 0);
  let [below, sum, best, threshold] = [0, 0, -1, centre(0)];
  for (let bin = 0; bin < BINS; bin++) {
    below += counts[bin];
    sum += counts[bin] * centre(bin);
    const between = ((totalSum * below) / total - sum) ** 2 / Math.max(below * (total - below), 1);
    if (between > best) [best, threshold] = [between, centre(bin)];
  }
  return threshold;
}

function largeParts(ink, threshold, height, width) {
  // Numbers the large connected parts from 1. Parts that touch the border are dropped if there are others.
  const { labels, count } = labelParts(ink, threshold, height, width);
  const sizes = new Int32Array(count + 1);
  for (let i = 0; i < labels.length; i++) sizes[labels[i]] += 1;
  const numbers = Array.from({ length: count }, (_, place) => place + 1);
  const touching = new Set(borderOf(labels, height, width));
  const largest = (group) => group.reduce((most, label) => Math.max(most, sizes[label]), 0);
  const inside = numbers.filter((label) => !touching.has(label));
  const candidates = largest(inside) >= MIN_PART * largest(numbers) ? inside : numbers;
  const large = candidates.filter((label) => sizes[label] >= MIN_PART * largest(candidates));
  const order = new Int32Array(count + 1);
  large.forEach((label, place) => (order[label] = place + 1));
  for (let i = 0; i < labels.length; i++) labels[i] = order[labels[i]];
  return labels;
}

function labelParts(ink, threshold, height, width) {
  // Pixels that touch each other, also at corners, get one number, from 1 to `count`.
  const labels = new Int32Array(ink.length);
  let count = 0;
  for (let start = 0; start < ink.length; start++) {
    if (!(ink[start] > threshold) || labels[start]) continue;
    labels[start] = ++count;
    const open = [start];
    while (open.length) {
      const place = open.pop();
      const [y, x] = [Math.floor(place / width), place % width];
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const near = row * width + column;
          if (ink[near] > threshold && !labels[near]) {
            labels[near] = count;
            open.push(near);
          }
        }
      }
    }
  }
  return { labels, count };
}

function boundsOf(mask, height, width) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const [y, x] = [Math.floor(i / width), i % width];
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  return [left, top, right, bottom];
}

function countCharacters(parts, width) {
  // The tall parts that are next to or below each other.
  const boxes = [];
  parts.forEach((part, i) => {
    if (!part) return;
    const [y, x] = [Math.floor(i / width), i % width];
    const box = (boxes[part - 1] ??= { top: y, bottom: y, left: x, right: x });
    box.bottom = y;
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
  });
  const height = (box) => box.bottom - box.top + 1;
  const tallest = Math.max(...boxes.map(height));
  const apart = [];
  for (const box of boxes.filter((each) => height(each) >= MIN_HEIGHT * tallest)) {
    const isApart = (other) => box.top > other.bottom || box.bottom < other.top || box.left > other.right || box.right < other.left;
    if (apart.every(isApart)) apart.push(box);
  }
  return apart.length;
}

function crop(values, width, [left, top, right, bottom]) {
  const result = new Float32Array((right - left) * (bottom - top));
  for (let y = top; y < bottom; y++) result.set(values.subarray(y * width + left, y * width + right), (y - top) * (right - left));
  return result;
}

function roundHalfToEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

function centred(intensity, height, width) {
  // Scales the longer side to 20 pixels and puts the centre of mass into the middle of 28 x 28.
  const scale = BOX / Math.max(height, width);
  const [tall, wide] = [height, width].map((length) => Math.max(1, roundHalfToEven(length * scale)));
  const character = resample(intensity, [height, width], [tall, wide], scale < 1 ? "box" : "bicubic").map((v) => Math.min(1, Math.max(0, v)));
  let [mass, massY, massX, brightest] = [0, 0, 0, 0];
  character.forEach((v, i) => {
    mass += v;
    massY += v * Math.floor(i / wide);
    massX += v * (i % wide);
    brightest = Math.max(brightest, v);
  });
  const offset = (moment, length) => Math.min(SIDE - length, Math.max(0, roundHalfToEven((SIDE - 1) / 2 - moment / mass)));
  const [top, left] = [offset(massY, tall), offset(massX, wide)];
  const pixels = new Float32Array(SIDE * SIDE);
  // Thin strokes become pale when they are scaled down, so they are made up to twice as bright.
  const factor = Math.min(2, 1 / brightest);
  character.forEach((v, i) => {
    pixels[(top + Math.floor(i / wide)) * SIDE + left + (i % wide)] = roundHalfToEven(255 * v * factor);
  });
  return pixels;
}
