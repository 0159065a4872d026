// Resizes images as Pillow does: each pixel of the result is a weighted sum of the pixels below the filter, whose
// support grows when the image shrinks. Rows and columns are two passes.

const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubicWeight },
};

function bicubicWeight(x) {
  const a = -0.5;
  const distance = Math.abs(x);
  if (distance < 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  if (distance < 2) return (((distance - 5) * distance + 8) * distance - 4) * a;
  return 0;
}

export function resample(plane, [height, width], [newHeight, newWidth], filter, { isByte = false, box = null } = {}) {
  // One channel, row-major. `isByte`: rounds to 0..255 after each pass, as Pillow does for images of bytes. `box`: the
  // part of the image to resize, [left, top, right, bottom].
  const [left, top, right, bottom] = box ?? [0, 0, width, height];
  const round = isByte ? (v) => Math.min(255, Math.max(0, Math.floor(v + 0.5))) : Math.fround;
  const across = coefficients(left, right, width, newWidth, FILTERS[filter]);
  const down = coefficients(top, bottom, height, newHeight, FILTERS[filter]);
  const narrow = new Float32Array(height * newWidth);
  for (let y = 0; y < height; y++) {
    across.forEach(([start, weights], x) => {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * plane[y * width + start + k];
      narrow[y * newWidth + x] = round(sum);
    });
  }
  const result = new Float32Array(newHeight * newWidth);
  down.forEach(([start, weights], y) => {
    for (let x = 0; x < newWidth; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * narrow[(start + k) * newWidth + x];
      result[y * newWidth + x] = round(sum);
    }
  });
  return result;
}

function coefficients(low, high, size, newSize, { support, weight }) {
  // For each pixel of the result: the first pixel that it reads, and the weights from there.
  const scale = (high - low) / newSize;
  const stretch = Math.max(1, scale);
  return Array.from({ length: newSize }, (_, position) => {
    const centre = low + (position + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(size, Math.trunc(centre + support * stretch + 0.5));
    const weights = [];
    for (let place = start; place < end; place++) weights.push(weight((place - centre + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    return [start, weights.map((w) => w / sum)];
  });
}

export function fitSquare(planes, [height, width], size) {
  // Scales the shorter side to `size` and crops the centre: ImageOps.fit of Pillow with its bilinear filter.
  if (height === size && width === size) return planes;
  const side = Math.min(height, width);
  const [left, top] = [(width - side) / 2, (height - side) / 2];
  const box = [left, top, left + side, top + side];
  return planes.map((plane) => resample(plane, [height, width], [size, size], "bilinear", { isByte: true, box }));
}
