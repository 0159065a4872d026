// Filters of images in row-major order, as in convoy/data/photo.py. Rows and columns are two passes: a pass filters the
// columns and transposes its result, so that the next one filters the rows. Images continue mirrored at their edges.

const scratch = {}; // arrays that a pass leaves to the next call: a movement of the pen would otherwise allocate megabytes

function scratchOf(name, length, type = Float32Array) {
  // Its numbers are those of an earlier call.
  if (!(scratch[name]?.length >= length)) scratch[name] = new type(length);
  return scratch[name];
}

export function mirror(place, length) {
  // Mirrored at the edge of the outermost pixel, which is repeated.
  const period = 2 * length;
  const inside = ((place % period) + period) % period;
  return inside < length ? inside : period - 1 - inside;
}

function readColumn(line, source, column, [rows, columns], edge) {
  // Returns whether its numbers differ.
  const first = source[column];
  let differs = false;
  for (let y = 0, place = column; y < rows; y++, place += columns) {
    const value = source[place];
    line[edge + y] = value;
    if (value !== first) differs = true;
  }
  for (let k = 0; k < edge; k++) {
    line[edge - 1 - k] = line[edge + k]; // of a short line, what was mirrored before
    line[edge + rows + k] = line[edge + rows - 1 - k];
  }
  return differs;
}

export function blur(values, height, width, sigma) {
  const radius = Math.round(4 * sigma);
  const weights = Float64Array.from({ length: 2 * radius + 1 }, (_, k) => Math.exp(-0.5 * ((k - radius) / sigma) ** 2));
  const across = blurColumns(values, [height, width], weights, scratchOf("blur", height * width));
  return blurColumns(across, [width, height], weights, new Float32Array(height * width));
}

function blurColumns(source, [rows, columns], weights, result) {
  const last = weights.length - 1;
  const length = rows + last;
  const sum = weights.reduce((a, b) => a + b, 0);
  const line = scratchOf("blurLine", length + 3, Float64Array);
  line.fill(0, length, length + 3);
  for (let x = 0; x < columns; x++) {
    readColumn(line, source, x, [rows, columns], last / 2);
    // Zeros at the ends of a line add nothing: most of a drawing is paper.
    let [first, end] = [0, length];
    while (first < end && line[first] === 0) first++;
    while (end > first && line[end - 1] === 0) end--;
    // Four sums at a time: the processor does not wait for one to continue the others.
    for (let y = 0; y < rows; y += 4) {
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      const stop = Math.min(last, end - 1 - y);
      for (let k = Math.max(0, first - y - 3); k <= stop; k++) {
        const weight = weights[k];
        a += weight * line[y + k];
        b += weight * line[y + k + 1];
        c += weight * line[y + k + 2];
        d += weight * line[y + k + 3];
      }
      const to = x * rows + y;
      result[to] = a / sum;
      if (y + 1 < rows) result[to + 1] = b / sum;
      if (y + 2 < rows) result[to + 2] = c / sum;
      if (y + 3 < rows) result[to + 3] = d / sum;
    }
  }
  return result;
}

export function continued(values, height, width, margin) {
  // Each row, then each column, continues beyond its ends by point reflection: 2 f(end) - f(mirrored).
  const tall = height + 2 * margin;
  const across = continuedColumns(values, [height, width], margin, scratchOf("continuedColumns", tall * width));
  return continuedColumns(across, [width, tall], margin, scratchOf("continued", tall * (width + 2 * margin)));
}

function continuedColumns(source, [rows, columns], margin, result) {
  const last = margin + rows - 1;
  for (let x = 0, start = 0; x < columns; x++, start += rows + 2 * margin) {
    for (let y = 0, place = x; y < rows; y++, place += columns) result[start + margin + y] = source[place];
    for (let k = 1; k <= margin; k++) {
      // A short line is reflected again, at the ends that it has by then.
      const inside = Math.min(k, rows - 1);
      result[start + margin - k] = 2 * result[start + margin] - result[start + margin + inside];
      result[start + last + k] = 2 * result[start + last] - result[start + last - inside];
    }
  }
  return result;
}

export function opening(values, height, width, side) {
  // The minimum of each square of this side, of them the maximum: removes what is lighter and narrower than a square.
  const edge = side - 1;
  const [tall, wide] = [height + edge, width + edge];
  const columnMinima = extremesOfColumns(values, [height, width], scratchOf("columnMinima", tall * width), { side, edge, sign: -1 });
  const minima = extremesOfColumns(columnMinima, [width, tall], scratchOf("minima", tall * wide), { side, edge, sign: -1 });
  const columnMaxima = extremesOfColumns(minima, [tall, wide], scratchOf("columnMaxima", height * wide), { side, edge: 0, sign: 1 });
  return extremesOfColumns(columnMaxima, [wide, height], new Float32Array(height * width), { side, edge: 0, sign: 1 });
}

export function dilation(values, height, width, radius) {
  // The maximum of the square around each pixel. Mirrored pixels are inside it anyway.
  const square = { side: 2 * radius + 1, edge: radius, sign: 1 };
  const columnMaxima = extremesOfColumns(values, [height, width], scratchOf("columnMaxima", height * width), square);
  return extremesOfColumns(columnMaxima, [width, height], new Float32Array(height * width), square);
}

function extremesOfColumns(source, [rows, columns], result, { side, edge, sign }) {
  // The maximum (sign 1) or minimum (sign -1) of `side` successive numbers of each column, with three comparisons for each
  // number however large the side is: between multiples of the side, maxima from the left and from the right (van Herk 1992).
  const length = rows + 2 * edge;
  const count = length - side + 1;
  const line = scratchOf("line", length);
  const fromLeft = scratchOf("fromLeft", length);
  for (let x = 0; x < columns; x++) {
    const to = x * count;
    if (!readColumn(line, source, x, [rows, columns], edge)) {
      result.fill(line[0], to, to + count); // as most lines of a drawing
      continue;
    }
    for (let start = 0; start < length; start += side) {
      const end = Math.min(length, start + side);
      let highest = -Infinity;
      for (let i = start; i < end; i++) {
        const value = sign * line[i];
        if (value > highest) highest = value;
        fromLeft[i] = highest;
      }
      highest = -Infinity;
      for (let i = end - 1; i >= start; i--) {
        const value = sign * line[i];
        if (value > highest) highest = value;
        line[i] = highest; // from the right
      }
    }
    for (let i = 0; i < count; i++) {
      const right = line[i];
      const left = fromLeft[i + side - 1];
      result[to + i] = sign * (right > left ? right : left);
    }
  }
  return result;
}
