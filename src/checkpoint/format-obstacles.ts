// Formats that are of no use to a model_type, because the engine they are for does not load its checkpoints with scales.
// Knows what engines do by their table, and no tensor.

import { UnsupportedModelError } from "../errors.js";
import { VLLM_FAMILIES } from "./engine-families.js";
import { OUTPUT_FORMATS, type OutputFormatName } from "./output-formats.js";

type Config = Readonly<Record<string, unknown>>;

/** The model_type of a checkpoint that vLLM does not load with scales; undefined where it does, or where it is not known. */
export function refusedByVllm({ model_type: modelType }: Config): string | undefined {
  return typeof modelType === "string" && VLLM_FAMILIES.get(modelType) === "refuses" ? modelType : undefined;
}

/** @throws UnsupportedModelError when the format is for an engine that would not load the result */
export function requireFormatOfModel(name: OutputFormatName, config: Config): void {
  const modelType = refusedByVllm(config);
  if (name !== "vllm" || modelType === undefined) return;
  const others = Object.keys(OUTPUT_FORMATS).filter((format) => format !== name);
  throw new UnsupportedModelError(
    `Format ${name}: vLLM 0.32 has no place for KV scales in model_type "${modelType}" and does not load a checkpoint that has them. Use --format ${others.join(" or ")} for TGI. The checkpoint without scales loads in vLLM, where an FP8 cache runs at 1.0: \`create-kv-scales verify\` says what that costs.`,
  );
}

/** What has to be known of a result with scales, whatever its format. */
export function formatWarnings(config: Config): string[] {
  const modelType = refusedByVllm(config);
  if (modelType === undefined) return [];
  return [
    `vLLM 0.32 does not load a checkpoint of model_type "${modelType}" that has KV scales: keep the original for vLLM.`,
  ];
}
