// Small tables of numbers on the colours of a map.

import { element, table } from "./elements.js";
import { isDarkOn, largest, rgb } from "./painting.js";
import { number, say } from "./text.js";

export function numberGrid(caption, values, columns, { padding = [], marked = -1, scale = largest(values.filter(Number.isFinite)) } = {}) {
  // `padding`: whether each number is of the padding; `marked`: the place that is framed.
  const cells = values.map((value, place) => {
    if (padding[place]) return element("td", { class: "padding", "aria-label": say("padding_zero") }, "0");
    const style = `background: ${rgb(value, scale)}`;
    const names = [isDarkOn(value, scale) ? "light" : "dark", place === marked ? "marked" : ""].join(" ");
    return element("td", { style, class: names }, number(value, columns > 3 ? 2 : 3));
  });
  const rows = [];
  for (let start = 0; start < cells.length; start += columns) rows.push(cells.slice(start, start + columns));
  const made = table({ class: "grid" }, [], rows);
  made.prepend(element("caption", {}, caption));
  return made;
}

export function productGrids(values, kernel, columns, padding) {
  // Input x kernel = products, and their sum.
  const products = values.map((value, place) => value * kernel[place]);
  const sign = (text) => element("span", { class: "sign", "aria-hidden": "true" }, text);
  return element(
    "div",
    { class: "products" },
    numberGrid(say("grid_input"), values, columns, { padding }),
    sign("×"),
    numberGrid(say("grid_kernel"), kernel, columns),
    sign("="),
    numberGrid(say("grid_products"), products, columns, { padding }),
  );
}

export function signed(value) {
  // A summand after others: "+ 0.12" or "− 0.12".
  const text = number(value);
  return text.startsWith("−") ? `− ${text.slice(1)}` : `+ ${text}`;
}
