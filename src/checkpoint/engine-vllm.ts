// What vLLM does with the scales of a checkpoint: measured with version 0.32 on many layouts of one checkpoint, and with
// one checkpoint each of some model types; the rest was read in its source. Touches no file.

import { decodeBits16, encodeBits16 } from "../numerics/bits16.js";
import { VLLM_FAMILIES } from "./engine-families.js";
import {
  absentFile,
  hasNoParameters,
  judgePairs,
  lastWritten,
  namedScales,
  sayElements,
  schemeRefused,
  withoutParameters,
} from "./engine-scales.js";
import {
  type EngineVerdict,
  elementsOf,
  ignored,
  loadedWith,
  refused,
  unknown,
  unscaled,
  withFnuz,
} from "./engine-verdicts.js";
import { isObject, showJson } from "./json-text.js";
import type { Quantization } from "./quantization-block.js";
import { type ScaleTensor, scalesByAttention } from "./read-scales.js";
import type { ScaleFacts } from "./scale-facts.js";

/** Of a projection's output: in `fp8` and `quark` blocks alone. */
const OUTPUTS: readonly (readonly [RegExp, string])[] = [[/\.([kv])_proj\.output_scale$/, ".attn.$1_scale"]];

/** Of names in a checkpoint to names of parameters, one after the other. */
const RENAMES: readonly (readonly [RegExp, string])[] = [
  [/\.kv_scale$/, ".attn.k_scale"],
  [/\.self_attn\.[kv]_proj\.([kv])_scale$/, ".self_attn.attn.$1_scale"],
  [/\.self_attn\.qk(?:qk)?v_proj\.([kv])_scale$/, ".self_attn.attn.$1_scale"],
  [/\.mixer\.[kv]_proj\.([kv])_scale$/, ".mixer.attn.$1_scale"],
  [/\.self_attn\.([kv])_cache\.scale$/, ".self_attn.attn.$1_scale"],
  // Not where the attention itself is called attn, as in GPT-2: its parameters are attn.attn.k_scale.
  [/(?<!\.attn)\.([kv])_scale$/, ".attn.$1_scale"],
];

/** Model types whose own loaders rename what is left, so that an attention called attn is found, too. */
const RENAMES_TWICE: ReadonlySet<string | undefined> = new Set(["dbrx"]);

/** Model types whose loaders pass over scales of an attention called attn, where others refuse the checkpoint. */
const PASSES_OVER: ReadonlySet<string | undefined> = new Set(["gptj", "gpt_bigcode"]);

/** Model types with loaders of their own, which pass over a scale that the model has no place for. */
const OWN_LOADERS: ReadonlySet<string | undefined> = new Set(["dbrx", "gpt_oss", "hy_v3", "llama4", "mimo_v2_flash"]);

/** The parameter that a tensor is written to, if the model has it. */
function parameterOf(name: string, { method }: Quantization, modelType: string | undefined): string {
  const renames = method === "fp8" || method === "quark" ? [...OUTPUTS, ...RENAMES] : RENAMES;
  const renamed = renames.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), name);
  const isLeft = renamed === name && RENAMES_TWICE.has(modelType);
  return isLeft ? name.replace(/(?<!\.attn\.attn)\.([kv])_scale$/, ".attn.$1_scale") : renamed;
}

/** Loads the files that the index names. Without a quantization_config, the model has no parameters for scales. */
export function judgeVllm(facts: ScaleFacts): EngineVerdict {
  const { quantization, modelType } = facts;
  const absent = absentFile(facts);
  if (absent) return refused(`the index names ${absent}, which is not there`);
  const scales = namedScales(facts);
  const family = modelType === undefined ? undefined : VLLM_FAMILIES.get(modelType);
  const [first] = scales;
  if (first && family === "refuses") return refused(`its ${modelType} has no place for "${first.name}"`);
  if (quantization === undefined) {
    return first ? refused(`without a quantization_config the model has no "${first.name}"`) : unscaled(facts);
  }
  const { method, block } = quantization;
  if (hasNoParameters(quantization)) {
    const refusal = weightsMisread(scales, quantization);
    return refusal === undefined ? withoutParameters(facts, quantization) : refused(refusal);
  }
  if (!["compressed-tensors", "fp8", "modelopt", "quark"].includes(method)) return unknown(quantization);
  if (method === "modelopt" && typeof block.quant_algo !== "string") {
    return refused(`the quantization of ${quantization.file} has no quant_algo`);
  }
  const refusal = schemeRefused(quantization) ?? quarkRefused(quantization);
  if (refusal) return refused(refusal);
  if ((facts.hasLatentCache && family !== "loads") || family === "ignores") {
    return ignored(facts, "its latent attention (MLA) loads no scale");
  }
  const known = new Set(
    [...facts.attentions.values()].flatMap((name) => [`${name}.attn.k_scale`, `${name}.attn.v_scale`]),
  );
  const isStray = ({ name }: ScaleTensor) => !known.has(parameterOf(name, quantization, modelType));
  const stray = scales.find(isStray);
  if (stray && PASSES_OVER.has(modelType) && /\.attn\.[kv]_scale$/.test(stray.name)) {
    return ignored(facts, `it looks for ${stray.attention}.attn.k_scale`);
  }
  if (stray && !OWN_LOADERS.has(modelType)) return refused(`the model has no "${stray.name}"`);
  const placed = scales.filter((scale) => !isStray(scale));
  const elements = quantization.kvCacheScheme?.strategy === "attn_head" ? facts.kvHeads : 1;
  const wrong = placed.find((scale) => elementsOf(scale) !== elements);
  if (wrong) return refused(sayElements(wrong, elements));
  const verdict =
    method === "compressed-tensors" ? judgeInTurn(facts, placed) : judgePairs(facts, placed.map(roundedBy(facts)));
  if (verdict.use === "used" && family === undefined) {
    const why = `${verdict.why}, if it treats ${modelType === undefined ? "this model" : `model_type ${showJson(modelType)}`} as it does most: that is not known here`;
    return { ...verdict, use: "unknown", why };
  }
  return withFnuz(verdict, method === "compressed-tensors" ? "as-they-are" : "doubled");
}

/** Why scales keep the weights of a method without parameters for them from loading; undefined where they do not. */
function weightsMisread(scales: readonly ScaleTensor[], { method, block }: Quantization): string | undefined {
  const output = scales.find(({ form }) => form === "output");
  if (output) return `no projection has "${output.name}"`;
  // It takes modules with nothing but floats for unquantized ones, unless the block names those.
  const named = block.modules_to_not_convert;
  const isNamed = Array.isArray(named) && named.length > 0;
  const own = scales.find(({ form }) => form === "attention");
  if (method !== "awq" || isNamed || own === undefined) return undefined;
  return `"${own.name}" makes it take the projections of that attention for unquantized ones`;
}

function judgeInTurn(facts: ScaleFacts, scales: readonly ScaleTensor[]): EngineVerdict {
  const scalesOf = scalesByAttention(scales);
  return loadedWith(facts, (attention) => lastWritten(scalesOf(attention)));
}

/** Methods but that of compressed-tensors make the parameter in the model's type, which rounds the scale. */
function roundedBy({ dtype }: ScaleFacts): (scale: ScaleTensor) => ScaleTensor {
  if (dtype !== "bfloat16" && dtype !== "float16") return (scale) => scale;
  const round = (value: number) => decodeBits16(dtype, encodeBits16(dtype, value));
  return (scale) => ({ ...scale, values: scale.values?.map(round) });
}

/** Of a quark block alone, whose cache is one of the layers that it describes. */
function quarkRefused({ method, block }: Quantization): string | undefined {
  if (method !== "quark") return undefined;
  if (!isObject(block.export)) return "the quark block has no export";
  const groups = Array.isArray(block.export.kv_cache_group) ? block.export.kv_cache_group : [];
  const layers = isObject(block.layer_quant_config) ? block.layer_quant_config : {};
  for (const group of groups) {
    const layer = typeof group === "string" ? layers[group] : undefined;
    const cache = isObject(layer) && isObject(layer.output_tensors) ? layer.output_tensors : {};
    if (cache.dtype !== undefined && cache.dtype !== "fp8_e4m3") return "the cache of the quark block is not fp8_e4m3";
    if (cache.qscheme !== undefined && cache.qscheme !== "per_tensor") {
      return `the cache of the quark block has qscheme ${showJson(cache.qscheme)} instead of "per_tensor"`;
    }
  }
  return undefined;
}
