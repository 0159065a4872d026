// The open map, enlarged; a pixel to point at; and how its number was computed.

import { byId, element, visibleFirst } from "./elements.js";
import { explain, resultAt } from "./explain.js";
import { largest, paintMap } from "./painting.js";
import { drawLines, parametersOf, titleOf } from "./layers.js";
import { currentRun, listen, mapOf, mapsOf, selectMap, store } from "./store.js";
import { number, say, sides } from "./text.js";

const NARROW = "(max-width: 68rem)"; // as in page.css: one column

let frame = 0;
let refresh = null; // once per frame, however often the pointer moves

export function startInspector() {
  refresh = visibleFirst(byId("inspector"), () => {
    if (!frame) frame = requestAnimationFrame(show);
  });
  listen("values", refresh);
  listen("selection", refresh);
  listen("language", refresh);
  listen("selection", place);
  matchMedia(NARROW).addEventListener("change", place);
  const canvas = byId("map");
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const { rows, columns } = openMap();
    const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const pixel = [at((event.clientY - box.top) / box.height, rows), at((event.clientX - box.left) / box.width, columns)];
    if (String(pixel) !== String(store.pixel)) selectMap(store.operation, store.map, pixel);
  };
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" || event.buttons) point(event);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const { rows, columns } = openMap();
    const [y, x] = [store.pixel[0] + step[0], store.pixel[1] + step[1]];
    if (y >= 0 && y < rows && x >= 0 && x < columns) selectMap(store.operation, store.map, [y, x]);
  });
}

function place() {
  // Next to the layers, or in one column below the open one.
  const inspector = byId("inspector");
  const row = document.querySelector(`.layer[data-index="${store.operation}"]`);
  if (matchMedia(NARROW).matches && row) {
    if (row.nextElementSibling !== inspector) row.after(inspector);
  } else if (inspector.parentElement !== byId("inside-columns")) {
    byId("inside-columns").append(inspector);
  }
  drawLines();
}

function openMap() {
  return mapOf(store.values[store.operation + 1], store.map);
}

function show() {
  frame = 0;
  const operation = currentRun().graph.operations[store.operation];
  const value = store.values[store.operation + 1];
  const map = openMap();
  const { count } = mapsOf(value.shape);
  if (store.pixel[0] < 0) store.pixel = [map.rows >> 1, map.columns >> 1];
  const [y, x] = store.pixel;
  byId("inspector-title").textContent = titleOf(operation);
  const single = map.rows * map.columns === 1;
  byId("inspector-map").textContent = [operation.layer, say(single ? "unit_of" : "map_of", { map: store.map + 1, n: count }), sides(value.shape)].filter(Boolean).join(" · ");
  const result = resultAt({ result: value, map: store.map, y, x });
  paintMap(byId("map"), map, largest(value.data));
  byId("map").parentElement.hidden = single;
  const at = byId("map-pixel");
  at.setAttribute("style", `left: ${(100 * x) / map.columns}%; top: ${(100 * y) / map.rows}%; width: ${100 / map.columns}%; height: ${100 / map.rows}%`);
  const text = single ? say("unit_value", { value: number(result) }) : say("pixel_value", { y: y + 1, x: x + 1, value: number(result) });
  byId("pixel").textContent = text;
  byId("map").setAttribute("aria-label", say("map_label", { map: store.map + 1, layer: titleOf(operation), text }));
  const parts = explain();
  const parameters = parametersOf(operation);
  if (parameters) parts.push(element("p", { class: "note" }, say("layer_parameters", { n: parameters.toLocaleString("en") })));
  byId("explanation").replaceChildren(...parts);
}
