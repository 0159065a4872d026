// The state in the fragment of the address, so that a link opens the same picture, layer and pixel.

import { chooseScored } from "./input.js";
import { later } from "./elements.js";
import { selectLanguage } from "./language.js";
import { listen, selectMap, selectRun, store } from "./store.js";

export function startAddress() {
  const write = later(() => {
    const [operation, map, [y, x]] = [store.operation, store.map, store.pixel];
    const parts = isTranslated() ? { lang: store.language } : {};
    Object.assign(parts, { run: store.run, layer: operation, map, at: `${y},${x}` });
    if (store.source?.kind === "scored") parts.image = store.source.index;
    history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
  }, 300);
  for (const event of ["values", "selection", "run", "language"]) listen(event, write);
  addEventListener("hashchange", readAddress);
}

export function languageInAddress() {
  return partsOfAddress().get("lang");
}

function partsOfAddress() {
  return new URLSearchParams(location.hash.slice(1));
}

function isTranslated() {
  return Object.keys(store.page.words).length > 1;
}

export async function readAddress() {
  // Opens what the address names; of a wrong number, nothing.
  const parts = partsOfAddress();
  selectLanguage(parts.get("lang"));
  const index = (name, count) => {
    const value = Number(parts.get(name) ?? -1);
    return Number.isInteger(value) && value >= 0 && value < count ? value : null;
  };
  const run = index("run", store.page.runs.length);
  if (run !== null && run !== store.run) await selectRun(run);
  const image = index("image", store.page.scored.labels.length);
  if (image !== null && image !== store.source?.index) await chooseScored(image);
  const { operations } = store.page.runs[store.run].graph;
  const layer = index("layer", operations.length);
  if (layer === null) return;
  const [y, x] = (parts.get("at") ?? "").split(",").map(Number);
  const pixel = Number.isInteger(y) && Number.isInteger(x) && y >= 0 && x >= 0 ? [y, x] : null;
  selectMap(layer, index("map", 1e6) ?? 0, pixel);
}
