// How one number of a value was computed, from the numbers that the operation read.

import { element, table } from "./elements.js";
import { numberGrid, productGrids, signed } from "./grids.js";
import { largest, paintMap } from "./painting.js";
import { batchNormOf } from "./norms.js";
import { weightsOf } from "./passes.js";
import { currentRun, mapOf, mapsOf, selectMap, store } from "./store.js";
import { shownSource, titleOf } from "./layers.js";
import { number, say, sentences } from "./text.js";

const MAX_INPUTS = 8; // input maps of a convolution that are listed
const MAX_PRODUCTS = 10; // of a linear layer

let chosenInput = null; // the input map whose products are shown, and for which operation

export function explain() {
  // Elements for the number at store.pixel of store.map of store.operation.
  const operation = currentRun().graph.operations[store.operation];
  const weights = weightsOf(currentRun(), store.epoch);
  const context = {
    operation,
    inputs: operation.inputs.map((number) => store.values[number]),
    own: Object.fromEntries(Object.entries(operation.weights).map(([role, index]) => [role, weights[index]])),
    result: store.values[store.operation + 1],
    map: store.map,
    y: store.pixel[0],
    x: store.pixel[1],
  };
  if (currentRun().model && !isExplained(operation)) return [inputsOf(context), element("p", { class: "note" }, say("not_explained"))];
  const explanation = EXPLANATIONS[operation.name] ?? (operation.inputs.length > 1 ? explainPair : explainEach);
  return [inputsOf(context), ...explanation(context)];
}

function isExplained({ name, inputs, settings, weights }) {
  // Of an ONNX model, the page has the values and the numbers of batch norms, but no other weights and no constants.
  const isPair = ["add", "subtract", "multiply", "divide"].includes(name);
  const needsWeights = ["linear", "matmul", "layer_norm"].includes(name) || (name === "batch_norm" && !("mean" in weights));
  return !settings.weight && !needsWeights && (name in EXPLANATIONS || ["relu", "sigmoid"].includes(name) || (isPair && inputs.length > 1));
}

export function resultAt({ result, map, y, x }) {
  const { start, columns } = mapOf(result, map);
  return result.data[start + y * columns + x];
}

const EXPLANATIONS = {
  conv: explainConvolution,
  linear: explainLinear,
  batch_norm: explainBatchNorm,
  max_pool: explainWindow,
  avg_pool: explainWindow,
  adaptive_avg_pool: explainWindow,
  mean: explainMean,
  max: explainMean,
  softmax: explainSoftmax,
  log_softmax: explainSoftmax,
  concatenate: explainConcatenation,
  slice: explainSlice,
  pad: () => [],
  upsample: () => [],
};

function inputsOf({ operation, map, y, x }) {
  // Links to the maps that the operation reads.
  const sources = operation.inputs.map(shownSource);
  const buttons = sources.map((source) => {
    if (source === 0) return element("span", { class: "note" }, say("the_image"));
    const from = currentRun().graph.operations[source - 1];
    const { count, rows, columns } = mapsOf(from.shape);
    const go = () => selectMap(source - 1, Math.min(map, count - 1), [Math.min(y, rows - 1), Math.min(x, columns - 1)]);
    return element("button", { type: "button", class: "link", onclick: go }, [titleOf(from), from.layer].filter(Boolean).join(" · "));
  });
  return element("p", { class: "reads" }, say("reads"), " ", ...buttons.flatMap((button, place) => (place ? [say("comma"), button] : [button])));
}

function windowOf({ operation, inputs: [x], y, x: column }, [height, width], map) {
  // The numbers below the window, and which of them are padding.
  const { stride = [1, 1], padding = [0, 0], dilation = [1, 1] } = operation.settings;
  const [rows, columns] = x.shape.slice(2);
  const values = [];
  const isPadding = [];
  for (let ky = 0; ky < height; ky++) {
    for (let kx = 0; kx < width; kx++) {
      const [row, place] = [y * stride[0] - padding[0] + ky * dilation[0], column * stride[1] - padding[1] + kx * dilation[1]];
      const inside = row >= 0 && row < rows && place >= 0 && place < columns;
      values.push(inside ? x.data[(map * rows + row) * columns + place] : 0);
      isPadding.push(!inside);
    }
  }
  return { values, isPadding, top: y * stride[0] - padding[0], left: column * stride[1] - padding[1] };
}

function explainConvolution(context) {
  const { operation, inputs: [x], own, map } = context;
  const [outMaps, mapsPerGroup, height, width] = own.weight.shape;
  const first = Math.floor(map / (outMaps / operation.settings.groups)) * mapsPerGroup;
  const size = height * width;
  const contributions = Array.from({ length: mapsPerGroup }, (_, m) => {
    const kernel = own.weight.data.subarray((map * mapsPerGroup + m) * size, (map * mapsPerGroup + m + 1) * size);
    const below = windowOf(context, [height, width], first + m);
    return { input: first + m, kernel, ...below, sum: below.values.reduce((sum, value, place) => sum + value * kernel[place], 0) };
  }).sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
  const bias = own.bias ? own.bias.data[map] : 0;
  const shown = contributions.find(({ input }) => chosenInput === `${store.operation}/${input}`) ?? contributions[0];
  const scales = [largest(x.data), largest(own.weight.data)];
  const strongest = Math.abs(contributions[0].sum) || 1;
  const list = contributions.slice(0, MAX_INPUTS).map((each) => inputButton(context, each, [height, width], { isShown: each === shown, scales, strongest }));
  const others = contributions.slice(MAX_INPUTS);
  const rest = others.reduce((sum, each) => sum + each.sum, 0);
  const sum = contributions.slice(0, MAX_INPUTS).map((each, place) => (place || own.bias ? signed : number)(each.sum));
  return [
    element("h4", {}, say("conv_inputs", { n: mapsPerGroup })),
    element("div", { class: "input-maps" }, ...list),
    element("h4", {}, say("conv_products", { input: shown.input + 1 })),
    productGrids(shown.values, [...shown.kernel], width, shown.isPadding),
    element("p", {}, sentences(say("products_sum", { sum: number(shown.sum) }), shown.isPadding.some(Boolean) ? say("padding_note") : "")),
    formula(
      own.bias ? say("bias", { value: number(bias) }) : "",
      ...sum,
      others.length ? `${signed(rest)} ${say("other_maps", { n: others.length })}` : "",
      `= ${number(resultAt(context))}`,
    ),
  ];
}

function inputButton({ inputs: [x], map }, { input, kernel, sum, top, left }, [height, width], { isShown, scales, strongest }) {
  const [mapCanvas, kernelCanvas] = [element("canvas"), element("canvas", { class: "kernel" })];
  const source = mapOf(x, input);
  paintMap(mapCanvas, source, scales[0]);
  paintMap(kernelCanvas, { data: kernel, start: 0, rows: height, columns: width }, scales[1]);
  const share = (value, side) => `${Math.max(0, Math.min(100, (100 * value) / side))}%`;
  const frame = element("span", { class: "window", style: `left: ${share(left, source.columns)}; top: ${share(top, source.rows)}; width: ${share(width, source.columns)}; height: ${share(height, source.rows)}` });
  const choose = () => {
    chosenInput = `${store.operation}/${input}`;
    selectMap(store.operation, map, store.pixel);
  };
  const text = say("input_map", { input: input + 1, sum: number(sum) });
  return element(
    "button",
    { type: "button", class: "input-map", "aria-pressed": String(isShown), "aria-label": text, onclick: choose },
    element("span", { class: "thumb" }, mapCanvas, frame),
    kernelCanvas,
    element("span", { class: "amount", "aria-hidden": "true" }, element("span", { class: sum < 0 ? "bar negative" : "bar", style: `width: ${(100 * Math.abs(sum)) / strongest}%` }), number(sum)),
  );
}

function formula(...parts) {
  return element("p", { class: "formula" }, parts.filter(Boolean).join(" "));
}

function explainLinear(context) {
  const { operation, inputs: [x], own, map } = context;
  const features = own.weight.shape[1];
  const products = Array.from({ length: features }, (_, f) => ({ f, value: x.data[f], weight: own.weight.data[map * features + f] }))
    .map((each) => ({ ...each, product: each.value * each.weight }))
    .sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const source = currentRun().graph.operations[shownSource(operation.inputs[0]) - 1];
  const shape = source ? mapsOf(source.shape) : null;
  const nameOf = (f) => {
    if (!shape || shape.rows * shape.columns === 1 || shape.count * shape.rows * shape.columns !== features) return say("unit", { n: f + 1 });
    const place = f % (shape.rows * shape.columns);
    return say("unit_at", { map: Math.floor(f / (shape.rows * shape.columns)) + 1, y: Math.floor(place / shape.columns) + 1, x: (place % shape.columns) + 1 });
  };
  const listed = products.slice(0, MAX_PRODUCTS);
  const rest = products.slice(MAX_PRODUCTS).reduce((sum, each) => sum + each.product, 0);
  const rows = listed.map(({ f, value, weight, product }) => [nameOf(f), number(value), number(weight), number(product)]);
  if (products.length > MAX_PRODUCTS) rows.push([say("others", { n: products.length - MAX_PRODUCTS }), "", "", number(rest)]);
  if (own.bias) rows.push([say("bias_name"), "", "", number(own.bias.data[map])]);
  rows.push([say("sum"), "", "", number(resultAt(context))]);
  return [
    element("h4", {}, say("linear_products", { n: features })),
    table({ class: "numbers" }, [say("column_input"), say("column_value"), say("column_weight"), say("column_product")], rows),
  ];
}

function explainBatchNorm(context) {
  const { operation, inputs: [x], own, map } = context;
  const input = inputAt(x, context);
  const [mean, variance] = [own.mean.data[map], own.variance.data[map]];
  const [factor, offset] = batchNormOf(own, map, operation.settings.eps);
  const [weight, bias] = [own.weight ? own.weight.data[map] : 1, own.bias ? own.bias.data[map] : 0];
  return [
    element("p", {}, say("batch_norm_text")),
    formula(`(${number(input)} − ${brackets(mean)}) / √(${number(variance)} + ${operation.settings.eps.toExponential(0)}) × ${brackets(weight)} ${signed(bias)} = ${number(resultAt(context))}`),
    element("p", { class: "note" }, say("batch_norm_line", { factor: number(factor), offset: signed(offset) })),
  ];
}

function brackets(value) {
  return value < 0 ? `(${number(value)})` : number(value);
}

function inputAt(x, { result, map, y, x: column }) {
  // The number of an input at the same place, broadcast if it has fewer.
  const shape = mapsOf(x.shape);
  if (x.data.length === result.data.length) return x.data[mapOf(result, map).start + y * mapsOf(result.shape).columns + column];
  const m = shape.count === 1 ? 0 : map;
  return x.data[(m * shape.rows + Math.min(y, shape.rows - 1)) * shape.columns + Math.min(column, shape.columns - 1)];
}

function explainEach(context) {
  const { operation, inputs } = context;
  const input = number(inputAt(inputs[0], context));
  const result = number(resultAt(context));
  const texts = { relu: `max(0, ${input}) = ${result}`, sigmoid: `1 / (1 + e^−(${input})) = ${result}` };
  const symbols = { add: "+", subtract: "−", multiply: "×", divide: "/" };
  const text = operation.name in symbols ? `${input} ${symbols[operation.name]} ${number(operation.settings.other)} = ${result}` : (texts[operation.name] ?? `${operation.kind || operation.name}(${input}) = ${result}`);
  return [formula(text)];
}

function explainPair(context) {
  const symbols = { add: "+", subtract: "−", multiply: "×", divide: "/", maximum: "," };
  const numbers = context.inputs.map((x) => brackets(inputAt(x, context)));
  const symbol = symbols[context.operation.name] ?? ",";
  return [
    context.operation.name === "add" ? element("p", {}, say("shortcut_text")) : null,
    element("div", { class: "input-maps" }, ...context.inputs.map((x) => thumbnailOf(x, context))),
    formula(`${numbers.join(` ${symbol} `)} = ${number(resultAt(context))}`),
  ].filter(Boolean);
}

function thumbnailOf(x, { map }) {
  const canvas = element("canvas");
  const { count } = mapsOf(x.shape);
  paintMap(canvas, mapOf(x, Math.min(map, count - 1)), largest(x.data));
  return element("span", { class: "thumb", "aria-hidden": "true" }, canvas);
}

function explainWindow(context) {
  const { operation, inputs: [x], map, y, x: column } = context;
  if (operation.name === "adaptive_avg_pool") return explainMean(context);
  const { kernel } = operation.settings;
  const { values, isPadding } = windowOf(context, kernel, map);
  if (operation.name === "avg_pool") {
    return [numberGrid(say("grid_window"), values, kernel[1], { padding: isPadding, scale: largest(x.data) }), element("p", {}, say("mean_text", { n: values.length, result: number(resultAt(context)) }))];
  }
  const inside = values.map((value, place) => (isPadding[place] ? -Infinity : value));
  const marked = inside.indexOf(Math.max(...inside));
  const text = say("max_text", { n: values.length, result: number(resultAt(context)), y: y + 1, x: column + 1 });
  return [numberGrid(say("grid_window"), values, kernel[1], { padding: isPadding, marked, scale: largest(x.data) }), element("p", {}, text)];
}

function explainMean(context) {
  const { operation, inputs: [x], map } = context;
  const { rows, columns, count } = mapsOf(x.shape);
  const result = number(resultAt(context));
  if (String(operation.settings.axes ?? "2,3") !== "2,3") return [element("p", {}, say(operation.name === "max" ? "max_maps" : "mean_maps", { n: count, result }))];
  const source = mapOf(x, map);
  const values = [...x.data.subarray(source.start, source.start + rows * columns)];
  const text = say(operation.name === "max" ? "max_all" : "mean_text", { n: values.length, result });
  const grid = columns <= 8 ? numberGrid(say("grid_map"), values, columns, { scale: largest(x.data) }) : thumbnailOf(x, context);
  return [grid, element("p", {}, text)];
}

function explainSoftmax(context) {
  const { inputs: [x], result } = context;
  const { classes } = store.page;
  const logits = [...x.data];
  const highest = Math.max(...logits);
  const order = logits.map((_, index) => index).sort((a, b) => logits[b] - logits[a]).slice(0, MAX_PRODUCTS);
  const rows = order.map((index) => [classes[index] ?? index + 1, number(logits[index]), number(Math.exp(logits[index] - highest)), number(result.data[index])]);
  return [element("p", {}, say("softmax_text")), table({ class: "numbers" }, [say("column_class"), say("column_logit"), "e^(z − max)", say("column_result")], rows)];
}

function explainConcatenation({ operation, inputs, map }) {
  if (operation.settings.axis !== 1) return [];
  let first = 0;
  for (const [place, x] of inputs.entries()) {
    if (map < first + x.shape[1]) return [element("p", {}, say("concatenated", { map: map - first + 1, input: place + 1 }))];
    first += x.shape[1];
  }
  return [];
}

function explainSlice({ operation, map }) {
  const { axis, start, step } = operation.settings;
  return axis === 1 ? [element("p", {}, say("sliced", { map: start + map * step + 1 }))] : [];
}
