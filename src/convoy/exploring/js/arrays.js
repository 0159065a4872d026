// The arrays of the page: one block of bytes, compressed with zlib, written in base64.

export async function readArrays(base64, table) {
  const bytes = await inflate(fromBase64(base64));
  return table.map((entry) => readArray(bytes, entry));
}

function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function readArray(bytes, { start, shape, type }) {
  const length = shape.reduce((product, side) => product * side, 1);
  if (type === "uint8") return { shape, data: bytes.subarray(start, start + length) };
  if (type === "int8") return { shape, data: new Int8Array(bytes.buffer, bytes.byteOffset + start, length) };
  // float32 is stored by significance: all lowest bytes first, all highest last. zlib packs that 10 % smaller.
  const joined = new Uint8Array(4 * length);
  for (let i = 0; i < length; i++) {
    for (let k = 0; k < 4; k++) joined[4 * i + k] = bytes[start + k * length + i];
  }
  return { shape, data: new Float32Array(joined.buffer) };
}
