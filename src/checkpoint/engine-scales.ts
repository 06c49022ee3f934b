// Shared parts of the engines' rules: the files they load, the order in which tensors are loaded, and the words of
// refusals. Knows no engine by name.

import type { EngineVerdict, FoundScales } from "./engine-verdicts.js";
import { elementsOf, ignored, isSound, loadedWith, refused, unscaled } from "./engine-verdicts.js";
import { showJson } from "./json-text.js";
import type { Quantization } from "./quantization-block.js";
import { type ScaleTensor, scalesByAttention } from "./read-scales.js";
import type { ScaleFacts } from "./scale-facts.js";

/** A file that the index names and that is missing. */
export function absentFile({ namedFiles, files }: ScaleFacts): string | undefined {
  return [...(namedFiles ?? [])].find((file) => !files.includes(file));
}

/** Scales in the files that the index names; without an index, in all files. */
export function namedScales({ scales, namedFiles }: ScaleFacts): ScaleTensor[] {
  return inOrderOfWriting(scales.filter(({ file }) => namedFiles?.has(file) ?? true));
}

/** Files by name with numbers as numbers, tensors by name within a file. */
export function inOrderOfWriting(scales: readonly ScaleTensor[]): ScaleTensor[] {
  const byFile = new Intl.Collator("en", { numeric: true });
  return [...scales].sort((a, b) => byFile.compare(a.file, b.file) || (a.name < b.name ? -1 : 1));
}

/** Later tensors overwrite earlier ones, and kv_scale is loaded into k_scale. @param own scales of one attention */
export function lastWritten(own: readonly ScaleTensor[]): FoundScales {
  return { k: own.findLast(({ kind }) => kind !== "v_scale"), v: own.findLast(({ kind }) => kind === "v_scale") };
}

/** A layer with one sound scale uses it for both sides, unless it is V's; one with none stays at 1.0. */
export function judgePairs(facts: ScaleFacts, scales: readonly ScaleTensor[]): EngineVerdict {
  const scalesOf = scalesByAttention(scales);
  const read = (attention: string): FoundScales => {
    const { k, v } = lastWritten(scalesOf(attention));
    return { k: k && isSound(k) ? k : undefined, v: v && isSound(v) ? v : undefined };
  };
  const lone = [...facts.attentions.values()].map(read).find(({ k, v }) => !k && v)?.v;
  if (lone) return refused(`"${lone.name}" has no k_scale beside it`);
  return loadedWith(facts, (attention) => {
    const { k, v } = read(attention);
    return { k, v: v ?? k };
  });
}

/** Why vLLM and SGLang refuse the kv_cache_scheme of a compressed-tensors block; undefined when they do not. */
export function schemeRefused({ method, kvCacheScheme: scheme }: Quantization): string | undefined {
  if (method !== "compressed-tensors" || scheme === undefined) return undefined;
  if (scheme.type !== "float" || scheme.num_bits !== 8) return "the kv_cache_scheme is not of floats with 8 bits";
  return strategyRefused(scheme) ?? (scheme.symmetric === true ? undefined : "the kv_cache_scheme is not symmetric");
}

/**
 * Methods of weights alone: in vLLM and SGLang the attention beside them has no parameter for a scale. Measured with
 * vLLM 0.32 (mxfp4 was read in its source); read in SGLang's source.
 */
const WITHOUT_PARAMETERS: ReadonlySet<string> = new Set(["gptq", "awq", "mxfp4"]);

/** Whether a quantization leaves the attention without a parameter for a scale. */
export function hasNoParameters({ method }: Quantization): boolean {
  return WITHOUT_PARAMETERS.has(method);
}

/** The engine loads the checkpoint, and passes over scales beside weights of such a method. */
export function withoutParameters(facts: ScaleFacts, { method }: Quantization): EngineVerdict {
  if (facts.scales.length === 0) return unscaled(facts);
  return ignored(facts, `beside ${method} weights its attention has no place for a scale`);
}

export function strategyRefused({ strategy }: Readonly<Record<string, unknown>>): string | undefined {
  if (strategy === "tensor" || strategy === "attn_head") return undefined;
  return `the kv_cache_scheme has strategy ${showJson(strategy)} instead of "tensor"`;
}

export function sayElements(scale: ScaleTensor, expected: number | undefined): string {
  return `"${scale.name}" has ${elementsOf(scale)} elements instead of ${expected ?? "one per KV head"}`;
}
