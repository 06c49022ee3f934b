// Golden checkpoints as results of this program: their weights linked, and scales that were never measured. For tests that
// are about names and files, not numbers.

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel } from "../../src/architectures/registry.js";
import { patchConfigText } from "../../src/checkpoint/config-text.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import {
  OUTPUT_FORMATS,
  type OutputFormatName,
  scaleNames,
  scaleTensors,
} from "../../src/checkpoint/output-formats.js";
import { layOutCheckpoint } from "../../src/checkpoint/output-layout.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.js";
import { computeLayerScales } from "../../src/numerics/scales.js";
import { goldenFolder } from "./golden-checkpoints.js";

/** What the caches of a golden result may reach: each layer as far as its number says. */
function absmaxOfLayer(layer: number): { readonly k: number; readonly v: number } {
  return { k: 100 * (layer + 1), v: 50 * (layer + 1) };
}

/** Writes a golden checkpoint as a result in a format, beside a record of its ranges. @returns its folder */
export async function writeGoldenResult(root: string, golden: string, format: OutputFormatName): Promise<string> {
  const checkpoint = await openCheckpoint(goldenFolder(golden));
  const sites = cacheSites(describeModel(checkpoint.config, checkpoint.tensors));
  const scales = sites.map(({ layer }) => computeLayerScales(layer, absmaxOfLayer(layer), "float8_e4m3fn", 1));
  const tensors = scaleTensors(format, scales, scaleNames(sites));
  const { weights, scalesFile, indexText } = layOutCheckpoint(checkpoint, tensors);
  const folder = join(root, `${golden}-${format}`);
  mkdirSync(folder);
  for (const { shard, name } of weights) symlinkSync(shard.path, join(folder, name));
  writeFileSync(join(folder, scalesFile), encodeSafetensors(tensors, {}));
  writeFileSync(join(folder, "model.safetensors.index.json"), indexText);
  const keys = OUTPUT_FORMATS[format].config("float8_e4m3fn");
  writeFileSync(join(folder, "config.json"), patchConfigText(checkpoint.configText, checkpoint.config, keys));
  const layers = scales.map(({ layer, kScale, vScale, kvScale }) => {
    const { k, v } = absmaxOfLayer(layer);
    return { layer, k_absmax: k, v_absmax: v, k_scale: kScale, v_scale: vScale, kv_scale: kvScale };
  });
  const record = { tool: "create-kv-scales", dtype: "float8_e4m3fn", headroom: 1, kv_scales_format: format, layers };
  writeFileSync(join(folder, "kv_scales.json"), JSON.stringify(record));
  return folder;
}
