// Layers as people list them. Pure.

/** "layer 3", "layers 3, 5–8" */
export function layerList(layers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const layer of layers) {
    const run = runs.at(-1);
    if (run !== undefined && layer === run[1] + 1) run[1] = layer;
    else runs.push([layer, layer]);
  }
  const names = runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  return `${layers.length === 1 ? "layer" : "layers"} ${names.join(", ")}`;
}
