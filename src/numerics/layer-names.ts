// Lists of layers for people. Pure.

import { nounFor } from "../counted.js";

/** As layerList, at the start of a sentence: "Layer 3", "Layers 3, 5–8" */
export function layerNames(layers: readonly number[]): string {
  const list = layerList(layers);
  return list.charAt(0).toUpperCase() + list.slice(1);
}

/** "layer 3", "layers 3, 5–8" */
export function layerList(layers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const layer of layers) {
    const run = runs.at(-1);
    if (run !== undefined && layer === run[1] + 1) run[1] = layer;
    else runs.push([layer, layer]);
  }
  const names = runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  return `${nounFor(layers.length, "layer")} ${names.join(", ")}`;
}
