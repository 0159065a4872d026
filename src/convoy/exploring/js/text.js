// The messages of the page, which Python wrote in the language of the reader, and numbers.

let words = {};

export function setWords(table) {
  words = table;
}

export function say(key, values = {}) {
  if (!(key in words)) throw new Error(`no message "${key}"`);
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function hasMessage(key) {
  return key in words;
}

export function number(value, digits = 3) {
  // A number for a formula, with `digits` decimals below 1 and fewer above, and a real minus sign.
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && size < 10 ** -digits / 2) return `${value < 0 ? "−" : ""}${size.toExponential(0)}`;
  const decimals = size === 0 ? 0 : size >= 100 ? Math.max(0, digits - 3) : size >= 10 ? Math.max(0, digits - 2) : size >= 1 ? digits - 1 : digits;
  const text = size.toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

export function percent(share) {
  return `${(100 * share).toFixed(share > 0.9995 && share < 0.99995 ? 2 : 1)} %`;
}

export function sides(shape) {
  // The shape of a value without the batch dimension: 6×24×24.
  return shape.slice(1).join("×") || "1";
}
