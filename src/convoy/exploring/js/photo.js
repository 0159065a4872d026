// Finds the character in a drawing or a photograph and converts it as MNIST was made. The same steps and numbers as
// convoy/data/photo.py, whose comments give the reasons. A picture is { grey, height, width }, grey values in 0..255.

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
  let light = blur(small.grey, height, width, Math.max(height, width) / WORKING_SIDE);
  const paperLevel = median(borderOf(light, height, width));
  const [lowest, highest] = extremes(light);
  const dark = paperLevel - lowest > highest - paperLevel;
  if (dark) light = computed(light, (v) => 255 - v);
  const paper = paperOf(light, height, width);
  const ink = computed(light, (v, i) => Math.max(v - paper[i], 0));
  const threshold = otsuThreshold(ink);
  const parts = largeParts(computed(ink, (v) => (v > threshold ? 1 : 0)), height, width);
  const strokes = computed(parts, (part) => (part > 0 ? 1 : 0));
  const level = median(ink.filter((_, i) => strokes[i]));
  if (!(level >= MIN_CONTRAST)) return null;
  const box = boundsOf(strokes, height, width);
  const near = maximumOfSquares(padded(strokes, height, width, 2, () => 0), height + 4, width + 4, 5);
  const intensity = computed(ink, (v, i) => Math.min(1, Math.max(0, v / level)) * near[i]);
  const scale = picture.width / width;
  return {
    dark,
    box: box.map((edge) => Math.round(edge * scale)), // left, top, right, bottom in pixels of the picture
    characters: countCharacters(parts, width),
    pixels: centred(crop(intensity, width, box), box[3] - box[1], box[2] - box[0]),
  };
}

function computed(values, f) {
  // As values.map(f), which is several times slower.
  const result = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) result[i] = f(values[i], i);
  return result;
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

function padded(values, height, width, margin, outside) {
  // `outside(at, y, x)` is the value of a pixel beyond the edge, computed with `at(y, x)` of the pixels inside.
  const result = new Float32Array((height + 2 * margin) * (width + 2 * margin));
  const at = (y, x) => values[y * width + x];
  let place = 0;
  for (let y = -margin; y < height + margin; y++) {
    for (let x = -margin; x < width + margin; x++) {
      const inside = y >= 0 && y < height && x >= 0 && x < width;
      result[place++] = inside ? at(y, x) : outside(at, y, x);
    }
  }
  return result;
}

function mirror(place, length) {
  // Mirrored at the edge of the outermost pixel, which is repeated.
  const period = 2 * length;
  const inside = ((place % period) + period) % period;
  return inside < length ? inside : period - 1 - inside;
}

function paperOf(light, height, width) {
  // The brightness without ink: an opening wider than a stroke, smoothed.
  const margin = Math.max(2, Math.floor(Math.max(height, width) / 4));
  const edge = margin - 1; // mirrored pixels around the margin
  const [tall, wide] = [height + 2 * margin, width + 2 * margin];
  const [rows, columns] = [tall + 2 * edge, wide + 2 * edge];
  const negative = computed(mirrored(continued(light, height, width, margin), tall, wide, edge), (v) => -v);
  const eroded = computed(maximumOfSquares(negative, rows, columns, margin), (v) => -v);
  const opened = maximumOfSquares(eroded, rows - edge, columns - edge, margin);
  // The mean of each block is blurred instead of each pixel: within 0.2 %, in a fiftieth of the time.
  const block = Math.max(1, Math.floor(margin / 16));
  const [blockRows, blockColumns] = [Math.ceil(tall / block), Math.ceil(wide / block)];
  const means = blockMeans(opened, [tall, wide], [blockRows, blockColumns], block);
  // A mean is a blur of its own, with the variance of a uniform distribution.
  const sigma = Math.sqrt((margin / 2 / block) ** 2 - (1 - 1 / block ** 2) / 12);
  const smooth = blur(means, blockRows, blockColumns, sigma);
  return enlarged(smooth, [blockRows, blockColumns], block, margin, [height, width]);
}

function mirrored(values, height, width, edge) {
  const [rows, columns] = [height + 2 * edge, width + 2 * edge];
  const columnOf = Int32Array.from({ length: columns }, (_, x) => mirror(x - edge, width));
  const result = new Float32Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    const from = mirror(y - edge, height) * width;
    for (let x = 0; x < columns; x++) result[y * columns + x] = values[from + columnOf[x]];
  }
  return result;
}

function blockMeans(values, [height, width], [rows, columns], block) {
  const result = new Float32Array(rows * columns);
  for (let y = 0; y < rows * block; y++) {
    const [from, to] = [mirror(y, height) * width, Math.floor(y / block) * columns];
    for (let x = 0; x < columns * block; x++) {
      result[to + Math.floor(x / block)] += values[from + (x < width ? x : mirror(x, width))] / block ** 2;
    }
  }
  return result;
}

function enlarged(values, [rows, columns], block, margin, [height, width]) {
  // Interpolates the values of blocks at each pixel, without the margin.
  const place = (position, count) => {
    const exact = Math.min(count - 1, Math.max(0, (position + margin + 0.5) / block - 0.5));
    const low = Math.min(Math.max(0, count - 2), Math.floor(exact));
    return [low, exact - low];
  };
  const placesX = Array.from({ length: width }, (_, x) => place(x, columns));
  const result = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const [top, down] = place(y, rows);
    for (let x = 0; x < width; x++) {
      const [left, across] = placesX[x];
      const i = top * columns + left;
      const upper = values[i] + across * (values[i + 1] - values[i]);
      const lower = values[i + columns] + across * (values[i + columns + 1] - values[i + columns]);
      result[y * width + x] = upper + down * (lower - upper);
    }
  }
  return result;
}

function continued(values, height, width, margin) {
  // Each row, then each column, continues beyond its ends by point reflection: 2 f(end) - f(mirrored).
  const extend = (source, rows, columns) => {
    // Extends the columns; the result is transposed, so that the next call extends the rows.
    const length = rows + 2 * margin;
    const result = new Float32Array(columns * length);
    for (let x = 0; x < columns; x++) {
      const line = result.subarray(x * length, (x + 1) * length);
      for (let y = 0; y < rows; y++) line[margin + y] = source[y * columns + x];
      const last = margin + rows - 1;
      for (let k = 1; k <= margin; k++) {
        // A short line is reflected again, at the ends that it has by then.
        line[margin - k] = 2 * line[margin] - line[margin + Math.min(k, rows - 1)];
        line[last + k] = 2 * line[last] - line[last - Math.min(k, rows - 1)];
      }
    }
    return result;
  };
  return extend(extend(values, height, width), width, height + 2 * margin);
}

function maximumOfSquares(values, height, width, side) {
  // The maximum of each square of this side: (height - side + 1) x (width - side + 1) values. Rows, then columns; the
  // length of the covered lines doubles in each pass.
  let current = values;
  let columns = width;
  for (let covered = 1; covered < side; ) {
    const step = Math.min(covered, side - covered);
    const narrower = columns - step;
    const next = new Float32Array(height * narrower);
    for (let y = 0; y < height; y++) maximaOfPairs(current, y * columns, step, next, y * narrower, narrower);
    current = next;
    columns = narrower;
    covered += step;
  }
  let rows = height;
  for (let covered = 1; covered < side; ) {
    const step = Math.min(covered, side - covered);
    const next = new Float32Array((rows - step) * columns);
    maximaOfPairs(current, 0, step * columns, next, 0, next.length);
    current = next;
    rows -= step;
    covered += step;
  }
  return current;
}

function maximaOfPairs(values, start, step, result, to, count) {
  for (let i = 0; i < count; i++) {
    const first = values[start + i];
    const second = values[start + i + step];
    result[to + i] = first > second ? first : second;
  }
}

function blur(values, height, width, sigma) {
  const radius = Math.round(4 * sigma);
  const weights = Float64Array.from({ length: 2 * radius + 1 }, (_, k) => Math.exp(-0.5 * ((k - radius) / sigma) ** 2));
  const sum = weights.reduce((a, b) => a + b, 0);
  const smooth = (source, rows, columns) => {
    // Along the columns of `source`; the result is transposed, so that the next call smooths along the rows.
    const result = new Float32Array(rows * columns);
    const line = new Float64Array(rows + 2 * radius);
    for (let x = 0; x < columns; x++) {
      for (let y = -radius; y < rows + radius; y++) line[y + radius] = source[mirror(y, rows) * columns + x];
      for (let y = 0; y < rows; y++) {
        let total = 0;
        for (let k = 0; k <= 2 * radius; k++) total += weights[k] * line[y + k];
        result[x * rows + y] = total / sum;
      }
    }
    return result;
  };
  return smooth(smooth(values, height, width), width, height);
}

function otsuThreshold(values) {
  const BINS = 128;
  let [low, high] = extremes(values);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const counts = new Float64Array(BINS);
  for (const value of values) counts[Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS))] += 1;
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

function largeParts(ink, height, width) {
  // Numbers the large connected parts from 1. Parts that touch the border are dropped if there are others.
  const labels = labelParts(ink, height, width);
  const sizes = [];
  for (const label of labels) sizes[label] = (sizes[label] ?? 0) + 1;
  const numbers = Object.keys(sizes).map(Number).filter((label) => label > 0);
  const touching = new Set(borderOf(labels, height, width));
  const largest = (group) => Math.max(0, ...group.map((label) => sizes[label]));
  const inside = numbers.filter((label) => !touching.has(label));
  const candidates = largest(inside) >= MIN_PART * largest(numbers) ? inside : numbers;
  const large = candidates.filter((label) => sizes[label] >= MIN_PART * largest(candidates));
  const order = new Map(large.map((label, place) => [label, place + 1]));
  return labels.map((label) => order.get(label) ?? 0);
}

function labelParts(ink, height, width) {
  // Pixels that touch each other, also at corners, get one number, from 1.
  const labels = new Int32Array(ink.length);
  let last = 0;
  for (let start = 0; start < ink.length; start++) {
    if (!ink[start] || labels[start]) continue;
    labels[start] = ++last;
    const open = [start];
    while (open.length) {
      const place = open.pop();
      const [y, x] = [Math.floor(place / width), place % width];
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const near = row * width + column;
          if (ink[near] && !labels[near]) {
            labels[near] = last;
            open.push(near);
          }
        }
      }
    }
  }
  return labels;
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
