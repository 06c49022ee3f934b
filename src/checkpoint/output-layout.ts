// The files of the result: weight shards as they are, one small shard with the scales, and an index of all. Pure;
// touches no disk.

import { OutputExistsError, UnsupportedModelError } from "../errors.js";
import type { Checkpoint, Shard } from "./open-checkpoint.js";
import type { Float32Tensor } from "./safetensors-writer.js";
import { holdsOnlyScales, isScaleName } from "./scale-names.js";

export interface OutputLayout {
  /** Weight shards and their names in the result. */
  readonly weights: readonly { readonly shard: Shard; readonly name: string }[];
  readonly scalesFile: string;
  readonly indexText: string;
}

/** Shards with nothing but scales of an earlier run. */
export function scaleShards(checkpoint: Checkpoint): Shard[] {
  return checkpoint.shards.filter(({ header }) => holdsOnlyScales(header));
}

/** @throws OutputExistsError when the checkpoint has scales already, in a shard of their own */
export function refuseExistingScales(checkpoint: Checkpoint): void {
  const shard = scaleShards(checkpoint)[0];
  if (shard === undefined) return;
  throw new OutputExistsError(
    `${checkpoint.folder}: has KV scales already, in ${shard.name}. Pass --force to replace them.`,
  );
}

/**
 * Lays out the result. A single file becomes the first of two shards, because beside an index transformers would read
 * only model.safetensors.
 * @throws UnsupportedModelError when scales are stored among weights: removing them would mean rewriting the shard
 */
export function layOutCheckpoint(checkpoint: Checkpoint, scales: readonly Float32Tensor[]): OutputLayout {
  const replaced = scaleShards(checkpoint);
  const kept = checkpoint.shards.filter((shard) => !replaced.includes(shard));
  refuseScalesAmongWeights(kept);
  const isSingle = checkpoint.index === undefined;
  const weights = kept.map((shard) => ({ shard, name: isSingle ? "model-00001-of-00002.safetensors" : shard.name }));
  const scalesFile = isSingle
    ? "model-00002-of-00002.safetensors"
    : (replaced[0]?.name ?? "model-kv-scales.safetensors");
  const weightMap = new Map<string, string>();
  let totalBytes = 0;
  for (const { shard, name } of weights) {
    for (const tensor of shard.header.tensors) {
      // A tensor that two shards have counts once, where it is read from.
      if (checkpoint.tensors.get(tensor.name)?.shard !== shard.name) continue;
      weightMap.set(tensor.name, name);
      totalBytes += tensor.byteLength;
    }
  }
  for (const tensor of scales) {
    weightMap.set(tensor.name, scalesFile);
    totalBytes += tensor.values.byteLength;
  }
  const metadata = { ...checkpoint.index?.metadata, total_size: totalBytes };
  const index = { metadata, weight_map: Object.fromEntries(weightMap) };
  return { weights, scalesFile, indexText: `${JSON.stringify(index, null, 2)}\n` };
}

function refuseScalesAmongWeights(shards: readonly Shard[]): void {
  for (const { name, header } of shards) {
    const scale = header.tensors.find((tensor) => isScaleName(tensor.name));
    if (scale === undefined) continue;
    throw new UnsupportedModelError(
      `${name}: tensor "${scale.name}" is a KV scale among the weights; replacing it would mean rewriting them. Calibrate the checkpoint it was made from.`,
    );
  }
}
