// Paints numbers as colours: blue for positive, orange for negative, the colour of the page for zero.

const STEPS = 255; // colours on each side of zero
const colours = new Map(); // of the page: to read one, the browser first computes all styles that have changed
const lookup = new Uint8ClampedArray(4 * (2 * STEPS + 1)); // red, green, blue, alpha for the values -1 to 1
const lookupPixels = new Uint32Array(lookup.buffer); // the same, a number for each

export function colourOf(name) {
  if (!colours.has(name)) {
    const parts = getComputedStyle(document.documentElement).getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi);
    colours.set(name, parts.slice(0, 3).map((part) => parseInt(part, 16)));
  }
  return colours.get(name);
}

export function readColours() {
  colours.clear();
  const [paper, positive, negative] = ["--paper", "--m0", "--m1"].map(colourOf);
  for (let step = -STEPS; step <= STEPS; step++) {
    // The square root separates small values from zero.
    const share = Math.sqrt(Math.abs(step) / STEPS);
    const end = step > 0 ? positive : negative;
    for (let k = 0; k < 3; k++) lookup[4 * (step + STEPS) + k] = paper[k] + share * (end[k] - paper[k]);
    lookup[4 * (step + STEPS) + 3] = 255;
  }
}

export function largest(data) {
  // The value that gets the full colour.
  let result = 1e-12;
  for (let i = 0; i < data.length; i++) {
    const size = data[i] < 0 ? -data[i] : data[i];
    if (size > result && size < Infinity) result = size;
  }
  return result;
}

export function paintTile(image, left, top, [width, height], map, scale) {
  // Paints a map { data, start, rows, columns } into a part of an ImageData, enlarged to width x height pixels.
  const { data, start, rows, columns } = map;
  const pixels = new Uint32Array(image.data.buffer);
  let lastRow = -1;
  for (let y = 0; y < height; y++) {
    const row = start + Math.floor((y * rows) / height) * columns;
    const to = (top + y) * image.width + left;
    if (row === lastRow) {
      pixels.copyWithin(to, to - image.width, to - image.width + width);
      continue;
    }
    lastRow = row;
    for (let x = 0; x < width; x++) {
      const value = data[row + Math.floor((x * columns) / width)] / scale;
      pixels[to + x] = lookupPixels[Math.round(STEPS * (value > 1 ? 1 : value < -1 ? -1 : value || 0)) + STEPS];
    }
  }
}

export function contextOf(canvas, width, height) {
  // To set the size of a canvas empties it and costs time, so only a new one is set.
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

export function paintMap(canvas, map, scale) {
  // One pixel of the canvas for each number; CSS enlarges it.
  const context = contextOf(canvas, map.columns, map.rows);
  const image = context.createImageData(map.columns, map.rows);
  paintTile(image, 0, 0, [map.columns, map.rows], map, scale);
  context.putImageData(image, 0, 0);
}

export function paintOverlay(canvas, { data, rows, columns }) {
  // A map to lay over a picture: the more transparent, the closer to zero.
  const context = contextOf(canvas, columns, rows);
  const image = context.createImageData(columns, rows);
  const scale = largest(data);
  const ends = [4 * 2 * STEPS, 0].map((start) => lookup.subarray(start, start + 3)); // of 1 and of -1
  data.forEach((value, i) => {
    image.data.set(ends[value > 0 ? 0 : 1], 4 * i);
    image.data[4 * i + 3] = (220 * Math.abs(value)) / scale;
  });
  context.putImageData(image, 0, 0);
}

export function paintPixels(canvas, pixels, channels, size) {
  // Pixels 0..255 of one channel or three, [C, H, H].
  const plane = size * size;
  paintPlanes(canvas, [0, 1, 2].map((k) => pixels.subarray(channels === 3 ? k * plane : 0)), size, size);
}

export function paintPlanes(canvas, [red, green, blue], width, height) {
  // Returns the context, to draw on the picture.
  const context = contextOf(canvas, width, height);
  const image = context.createImageData(width, height);
  const { data } = image;
  for (let i = 0; i < width * height; i++) {
    data[4 * i] = red[i];
    data[4 * i + 1] = green[i];
    data[4 * i + 2] = blue[i];
    data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return context;
}

export function rgb(value, scale) {
  const step = Math.round(STEPS * Math.max(-1, Math.min(1, value / scale || 0))) + STEPS;
  return `rgb(${lookup[4 * step]} ${lookup[4 * step + 1]} ${lookup[4 * step + 2]})`;
}

export function isDarkOn(value, scale) {
  // Whether a number on this colour needs light letters.
  const step = Math.round(STEPS * Math.max(-1, Math.min(1, value / scale || 0))) + STEPS;
  return 0.299 * lookup[4 * step] + 0.587 * lookup[4 * step + 1] + 0.114 * lookup[4 * step + 2] < 140;
}
