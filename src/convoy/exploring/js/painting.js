// Paints numbers as colours: blue for positive, orange for negative, the colour of the page for zero.

const STEPS = 255; // colours on each side of zero
let lookup = null; // red, green, blue for the values -1 to 1

export function colourOf(name) {
  const [red, green, blue] = getComputedStyle(document.documentElement).getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi);
  return [red, green, blue].map((part) => parseInt(part, 16));
}

export function readColours() {
  const [paper, positive, negative] = ["--paper", "--m0", "--m1"].map(colourOf);
  lookup = new Uint8ClampedArray(3 * (2 * STEPS + 1));
  for (let step = -STEPS; step <= STEPS; step++) {
    // The square root separates small values from zero.
    const share = Math.sqrt(Math.abs(step) / STEPS);
    const end = step > 0 ? positive : negative;
    for (let k = 0; k < 3; k++) lookup[3 * (step + STEPS) + k] = paper[k] + share * (end[k] - paper[k]);
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
  for (let y = 0; y < height; y++) {
    const row = start + Math.floor((y * rows) / height) * columns;
    for (let x = 0; x < width; x++) {
      const value = data[row + Math.floor((x * columns) / width)] / scale;
      const step = Math.round(STEPS * (value > 1 ? 1 : value < -1 ? -1 : value || 0)) + STEPS;
      const place = 4 * ((top + y) * image.width + left + x);
      image.data[place] = lookup[3 * step];
      image.data[place + 1] = lookup[3 * step + 1];
      image.data[place + 2] = lookup[3 * step + 2];
      image.data[place + 3] = 255;
    }
  }
}

export function paintMap(canvas, map, scale) {
  // One pixel of the canvas for each number; CSS enlarges it.
  canvas.width = map.columns;
  canvas.height = map.rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(map.columns, map.rows);
  paintTile(image, 0, 0, [map.columns, map.rows], map, scale);
  context.putImageData(image, 0, 0);
}

export function paintOverlay(canvas, { data, rows, columns }) {
  // A map to lay over a picture: the more transparent, the closer to zero.
  canvas.width = columns;
  canvas.height = rows;
  const image = canvas.getContext("2d").createImageData(columns, rows);
  const scale = largest(data);
  const ends = [3 * 2 * STEPS, 0].map((start) => lookup.subarray(start, start + 3)); // of 1 and of -1
  data.forEach((value, i) => {
    image.data.set(ends[value > 0 ? 0 : 1], 4 * i);
    image.data[4 * i + 3] = (220 * Math.abs(value)) / scale;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

export function paintPixels(canvas, pixels, channels, size) {
  // Pixels 0..255 of one channel or three, [C, H, H].
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const plane = size * size;
  for (let i = 0; i < plane; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = pixels[channels === 3 ? k * plane + i : i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

export function rgb(value, scale) {
  const step = Math.round(STEPS * Math.max(-1, Math.min(1, value / scale || 0))) + STEPS;
  return `rgb(${lookup[3 * step]} ${lookup[3 * step + 1]} ${lookup[3 * step + 2]})`;
}

export function isDarkOn(value, scale) {
  // Whether a number on this colour needs light letters.
  const step = Math.round(STEPS * Math.max(-1, Math.min(1, value / scale || 0))) + STEPS;
  return 0.299 * lookup[3 * step] + 0.587 * lookup[3 * step + 1] + 0.114 * lookup[3 * step + 2] < 140;
}
