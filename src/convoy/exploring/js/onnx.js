// Runs ONNX models with onnxruntime-web, whose two files are arrays of the page. In a worker, or here without one.

let loading = null; // promise of the library
const sessions = new Map(); // index of a model's array -> promise of its session

export async function runModel({ graph, model }, image, { arrays, runtime, all }) {
  // As runNetwork: the values of all operations, or only those of the last.
  const { InferenceSession, Tensor } = await (loading ??= load(...runtime.map((index) => arrays[index].data)));
  if (!sessions.has(model.content)) sessions.set(model.content, InferenceSession.create(arrays[model.content].data, { executionProviders: ["wasm"] }));
  const session = await sessions.get(model.content);
  const names = all ? model.values : model.values.slice(-1);
  const results = await session.run({ [session.inputNames[0]]: new Tensor("float32", image.data, image.shape) }, [...new Set(names)]);
  const values = names.map((name, place) => ({ shape: graph.operations.at(place - names.length).shape, data: results[name].data }));
  return [image, ...values];
}

async function load(module, wasm) {
  const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  const library = await import(url);
  library.env.wasm.numThreads = 1;
  library.env.wasm.wasmBinary = wasm;
  return library;
}
