// The picture of the network: a row for each operation with its maps, and lines for shortcuts.

import { byId, element, visibleFirst } from "./elements.js";
import { contextOf, largest, paintTile } from "./painting.js";
import { currentRun, listen, mapOf, mapsOf, selectMap, store, weightOf, weightShape } from "./store.js";
import { sizeOf } from "./tensors.js";
import { hasMessage, joined, number, say, sides, write } from "./text.js";

const HIDDEN = new Set(["weight", "identity", "reshape", "permute", "expand"]); // they only move numbers
const GAP = 3; // pixels between maps
const MAX_MAPS = 512; // of a row
const LANE = 9; // pixels between the lines of shortcuts
const MAX_LANES = 4;
const MANY = 36; // operations; with more, blocks are folded
let rows = []; // { index, canvas, layout, paint, ... }

export function startLayers() {
  listen("run", buildRows);
  listen("language", () => {
    rows.forEach(nameRow);
    markSelection();
  });
  listen("values", paintRows);
  listen("selection", markSelection);
  addEventListener("resize", () => {
    layOut();
    rows.forEach(paintRow);
  });
  buildRows();
}

export function titleOf(operation) {
  const name = hasMessage(`op_${operation.name}`) ? say(`op_${operation.name}`) : operation.kind || operation.name;
  return [name, settingsOf(operation)].filter(Boolean).join(" ");
}

function settingsOf(operation) {
  const { name, settings } = operation;
  const parts = [];
  if (name === "conv") {
    const [, , height, width] = weightShape(operation);
    parts.push(`${height}×${width}`);
    if (settings.groups > 1) parts.push(say("groups", { n: settings.groups }));
  }
  if (name === "max_pool" || name === "avg_pool") parts.push(settings.kernel.join("×"));
  if (settings.stride && String(settings.stride) !== String(settings.kernel ?? [1, 1])) parts.push(say("stride", { n: settings.stride[0] }));
  return joined(parts);
}

export function parametersOf(operation) {
  const { weight, bias } = operation.settings; // of an ONNX model
  if (weight) return sizeOf(weight) + (bias ? weight[0] : 0);
  const roles = operation.name === "batch_norm" ? ["weight", "bias"] : Object.keys(operation.weights);
  return roles.reduce((sum, role) => sum + (role in operation.weights ? weightOf(operation, role).data.length : 0), 0);
}

function isShown(operation) {
  return !HIDDEN.has(operation.name);
}

export function shownSource(number) {
  // The value that is shown for this one: through operations that only move numbers. 0 is the image.
  const { operations } = currentRun().graph;
  while (number > 0 && !isShown(operations[number - 1]) && operations[number - 1].inputs.length) number = operations[number - 1].inputs[0];
  return number;
}

function buildRows() {
  const { operations } = currentRun().graph;
  const list = byId("layers");
  const shown = operations.map((operation, index) => ({ operation, index })).filter(({ operation }) => isShown(operation));
  byId("inside-columns").append(byId("inspector")); // it may be in the list
  list.replaceChildren();
  rows = [];
  let block = null;
  for (const { operation, index } of shown) {
    const name = blockOf(operation);
    if (shown.length > MANY && block?.name !== name) {
      const summary = element("summary", {}, titleOfBlock(name), " ", element("span", { class: "note" }, sides(operation.shape)));
      block = { name, details: element("details", { open: rows.length === 0, ontoggle: () => { layOut(); rows.forEach(paintRow); } }, summary) };
      list.append(block.details);
    }
    (block?.details ?? list).append(makeRow(operation, index));
  }
  const open = operations.findIndex(isShown);
  Object.assign(store, { operation: open, map: 0 });
  layOut();
}

function titleOfBlock(name) {
  const title = element("span", {}, name);
  if (!name) write(title, "network");
  return title;
}

function blockOf({ layer, kind }) {
  // "blocks.0" of "blocks.0.branch.1": at most two names, without that of a layer.
  const names = layer.split(".");
  return (kind ? names.slice(0, -1) : names).slice(0, 2).join(".") || layer;
}

function makeRow(operation, index) {
  const { count } = mapsOf(operation.shape);
  const canvas = element("canvas", { "aria-hidden": "true" });
  const [title, notes] = [element("b"), element("span", { class: "note" })];
  const maps = element(
    "div",
    {
      class: "maps", tabindex: "0", role: "slider", "aria-valuemin": "1", "aria-valuemax": count, "aria-valuenow": "1",
      onclick: (event) => selectAt(index, event),
      onkeydown: (event) => moveMap(index, count, event),
      onfocus: () => { if (store.operation !== index) selectMap(index, 0); },
    },
    canvas,
  );
  const row = element("div", { class: "layer", "data-index": index }, element("div", { class: "layer-name" }, title, notes), maps);
  rows.push({ index, operation, title, notes, canvas, maps, row, count: Math.min(count, MAX_MAPS), layout: null });
  const made = rows.at(-1);
  made.paint = visibleFirst(row, () => paintRow(made));
  nameRow(made);
  return row;
}

function nameRow({ operation, title, notes, maps }) {
  const parameters = parametersOf(operation);
  const parts = [operation.layer, sides(operation.shape), parameters ? say("parameters", { n: parameters.toLocaleString("en") }) : ""];
  title.textContent = titleOf(operation);
  notes.textContent = parts.filter(Boolean).join(" · ");
  maps.setAttribute("aria-label", say("maps_of", { layer: titleOf(operation), n: mapsOf(operation.shape).count, shape: sides(operation.shape) }));
}

function layOut() {
  const { operations } = currentRun().graph;
  for (const each of rows) {
    // The rows of a folded block have a size, but cannot be seen.
    const width = each.row.closest("details")?.open === false ? 0 : each.maps.clientWidth;
    if (!width) {
      each.layout = null;
      continue;
    }
    const { rows: height, columns } = mapsOf(operations[each.index].shape);
    const single = height === 1 && columns === 1;
    const tile = single ? (each.count > 40 ? [7, 18] : [22, 22]) : [sideOf(columns, each.count), sideOf(height, each.count)];
    const gap = single && each.count > 40 ? 1 : GAP;
    const perLine = Math.max(1, Math.min(each.count, Math.floor((width + gap) / (tile[0] + gap))));
    const size = [perLine * (tile[0] + gap) - gap, Math.ceil(each.count / perLine) * (tile[1] + gap) - gap];
    each.layout = { tile, gap, perLine, size, image: null };
    contextOf(each.canvas, ...size);
  }
  drawLines();
}

function sideOf(side, count) {
  // Few maps are large, many are small; always a round enlargement for maps that are smaller than their tile.
  const wanted = count <= 8 ? 56 : count <= 32 ? 40 : count <= 128 ? 28 : 20;
  return side >= wanted ? wanted : Math.max(1, Math.floor(wanted / side)) * side;
}

function paintRows() {
  if (!store.values) return;
  for (const each of rows) if (each.layout) each.paint();
}

function paintRow(made) {
  const { index, canvas, layout, count, row } = made;
  if (!layout || !row.isConnected || !store.values) return; // folded, or of another network
  const value = store.values[index + 1];
  const scale = largest(value.data);
  const context = contextOf(canvas, ...layout.size);
  layout.image ??= context.createImageData(...layout.size);
  for (let map = 0; map < count; map++) {
    const [left, top] = placeOf(layout, map);
    paintTile(layout.image, left, top, layout.tile, mapOf(value, map), scale);
  }
  context.putImageData(layout.image, 0, 0);
  if (index === store.operation) nameMap(made);
}

function placeOf({ tile, gap, perLine }, map) {
  return [(map % perLine) * (tile[0] + gap), Math.floor(map / perLine) * (tile[1] + gap)];
}

function selectAt(index, event) {
  const { canvas, layout, count } = rows.find((each) => each.index === index);
  const box = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const column = Math.min(layout.perLine - 1, Math.floor(x / (layout.tile[0] + layout.gap)));
  const map = Math.floor(y / (layout.tile[1] + layout.gap)) * layout.perLine + column;
  if (map >= 0 && map < count) selectMap(index, map);
}

function moveMap(index, count, event) {
  const { layout } = rows.find((each) => each.index === index);
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: layout?.perLine ?? 1, ArrowUp: -(layout?.perLine ?? 1), Home: -store.map, End: count - 1 - store.map };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const current = store.operation === index ? store.map : 0;
  selectMap(index, Math.min(count - 1, Math.max(0, current + steps[event.key])));
}

function markSelection() {
  for (const made of rows) {
    const { index, row, maps, layout } = made;
    const isOpen = index === store.operation;
    row.classList.toggle("open", isOpen);
    const block = row.closest("details");
    if (isOpen && block && !block.open) block.open = true; // its event "toggle" paints the row
    const frame = row.querySelector(".frame");
    if (!isOpen || !layout) {
      frame?.remove();
      continue;
    }
    const [left, top] = placeOf(layout, store.map);
    const style = `left: ${left - 2}px; top: ${top - 2}px; width: ${layout.tile[0] + 4}px; height: ${layout.tile[1] + 4}px`;
    if (frame) frame.setAttribute("style", style);
    else maps.append(element("span", { class: "frame", style, "aria-hidden": "true" }));
    maps.setAttribute("aria-valuenow", store.map + 1);
    nameMap(made);
  }
}

function nameMap({ index, maps }) {
  const { data, start, rows: height, columns } = mapOf(store.values[index + 1], store.map);
  const map = data.subarray(start, start + height * columns);
  maps.setAttribute("aria-valuetext", say("map_spoken", { map: store.map + 1, low: number(map.reduce((a, b) => Math.min(a, b))), high: number(map.reduce((a, b) => Math.max(a, b))) }));
}

export function drawLines() {
  // Lines left of the rows, for values that another than the next row reads.
  const svg = byId("lines");
  svg.replaceChildren();
  const { operations } = currentRun().graph;
  // Where a row is: at its own place, or at the title of its folded block.
  const stopOf = ({ layout, row }) => (layout ? row : (row.closest("details")?.firstChild ?? row));
  const stops = [...new Set(rows.map(stopOf))];
  const placeOfIndex = new Map(rows.map((each) => [each.index, stops.indexOf(stopOf(each))]));
  const lanes = []; // the last stop of the line in each lane
  const paths = [];
  for (const { index } of rows) {
    const to = placeOfIndex.get(index);
    for (const input of new Set(operations[index].inputs.map(shownSource))) {
      const from = placeOfIndex.get(input - 1);
      if (from === undefined || from >= to - 1) continue;
      let lane = lanes.findIndex((end) => end <= from);
      if (lane < 0) lane = lanes.push(0) - 1;
      lanes[lane] = to;
      paths.push([stops[from], stops[to], lane]);
    }
  }
  const list = byId("layers");
  const right = LANE * Math.min(MAX_LANES, lanes.length);
  list.parentElement.style.setProperty("--gutter", `${right ? right + 8 : 0}px`);
  const middle = (row) => row.offsetTop + 18;
  for (const [from, to, lane] of paths) {
    const x = right - LANE * (Math.min(MAX_LANES - 1, lane) + 1) + 1;
    const [y, end] = [middle(from), middle(to)];
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", `M${right} ${y}H${x + 5}Q${x} ${y} ${x} ${y + 5}V${end - 5}Q${x} ${end} ${x + 5} ${end}H${right}m-4 -3l4 3l-4 3`);
    svg.append(path);
  }
  svg.setAttribute("height", list.scrollHeight);
}
