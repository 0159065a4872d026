// The messages of the page, which Python wrote in each language, and numbers.

let words = {};
const valuesOf = new WeakMap(); // element -> the values of its message

export function setWords(table) {
  // The text of the template and of `write` changes; who writes text otherwise listens to "language".
  words = table;
  for (const each of document.querySelectorAll("[data-say]")) each.textContent = say(each.dataset.say, valuesOf.get(each));
  for (const each of document.querySelectorAll("[data-say-label]")) each.setAttribute("aria-label", say(each.dataset.sayLabel));
}

export function say(key, values = {}) {
  if (!(key in words)) throw new Error(`no message "${key}"`);
  return words[key].replace(/\{(\w+)\}/g, (_, name) => {
    if (values[name] === undefined) throw new Error(`message "${key}" needs "${name}"`);
    return values[name];
  });
}

export function flagsOf(run) {
  // The warnings of a run, as sentences.
  return say(`flags_${run}`).split("\n").filter(Boolean);
}

export function sentences(...texts) {
  // One after another; Chinese has no space after its full stop.
  return texts.filter(Boolean).join(" ").replaceAll("。 ", "。");
}

export function joined(texts) {
  return texts.join(say("comma"));
}

export function write(target, key, values = {}) {
  // The only text of an element: a message, also after a change of the language; without a key, nothing.
  if (key) target.dataset.say = key;
  else delete target.dataset.say;
  valuesOf.set(target, values);
  target.textContent = key ? say(key, values) : "";
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
  return say("percent", { value: (100 * share).toFixed(share > 0.9995 && share < 0.99995 ? 2 : 1) });
}

export function sides(shape) {
  // The shape of a value without the batch dimension: 6×24×24.
  return shape.slice(1).join("×") || "1";
}
