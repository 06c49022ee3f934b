// What each serving engine does with the scales of a checkpoint: one entry per engine, a pure function from facts to a
// verdict. vLLM 0.32 and transformers 5.19 were measured; TGI's and SGLang's loaders were read. Touches no file.

import {
  type EngineVerdict,
  elementsOf,
  type FoundScales,
  ignored,
  isSound,
  loadedWith,
  refused,
  unknown,
  unscaled,
} from "./engine-verdicts.js";
import { isObject, showJson } from "./json-text.js";
import { type ScaleTensor, scalesByAttention } from "./read-scales.js";
import type { Quantization, ScaleFacts } from "./scale-facts.js";
import type { ScaleKind } from "./scale-names.js";

export interface EngineRule {
  readonly name: string;
  readonly judge: (facts: ScaleFacts) => EngineVerdict;
}

export const ENGINES = {
  "tgi-documented": { name: "TGI, documented format", judge: judgeDocumentedTgi },
  tgi: { name: "TGI 2.4 and later", judge: judgeTgi },
  vllm: { name: "vLLM", judge: judgeVllm },
  sglang: { name: "SGLang", judge: judgeSglang },
  transformers: { name: "transformers", judge: judgeTransformers },
} as const satisfies Record<string, EngineRule>;

export type EngineName = keyof typeof ENGINES;

/** Loads every top-level file. Reads kv_scale, of no dimension, for the dtype that config.json names. */
function judgeDocumentedTgi(facts: ScaleFacts): EngineVerdict {
  const shared = facts.scales.filter(({ kind, form }) => kind === "kv_scale" && form === "attention");
  if (facts.duplicate) return refused(sayDuplicate(facts.duplicate));
  const wrong = shared.find(({ shape }) => shape.length > 0);
  if (wrong) return refused(`"${wrong.name}" has shape [${wrong.shape.join(", ")}] instead of no dimension`);
  if (shared.length === 0 && facts.scales.length > 0) return ignored(facts, "it reads kv_scale, and there is none");
  if (shared.length > 0 && typeof facts.kvCacheDtype !== "string") {
    return ignored(facts, "config.json lacks kv_cache_torch_dtype, which says what the scales are for");
  }
  const scalesOf = scalesByAttention(shared);
  return loadedWith(facts, (attention) => {
    const [scale] = scalesOf(attention);
    return { k: scale, v: scale };
  });
}

/** Loads every top-level file. Reads a layer's k_scale with its v_scale, else its kv_scale. */
function judgeTgi(facts: ScaleFacts): EngineVerdict {
  if (facts.duplicate) return refused(sayDuplicate(facts.duplicate));
  const refusal = blockRefusedByTgi(facts.quantization);
  if (refusal) return refused(refusal);
  const scalesOf = scalesByAttention(facts.scales.filter(({ form }) => form === "attention"));
  const read = (attention: string): FoundScales => {
    const find = (kind: ScaleKind) => scalesOf(attention).find((scale) => scale.kind === kind);
    const [k, v, shared] = [find("k_scale"), find("v_scale"), find("kv_scale")];
    return k && v ? { k, v } : { k: shared, v: shared };
  };
  const found = [...facts.attentions.values()].flatMap((name) => Object.values(read(name)));
  const wrong = found.find((scale) => scale !== undefined && elementsOf(scale) !== 1);
  return wrong ? refused(sayElements(wrong, 1)) : loadedWith(facts, read);
}

function sayDuplicate({ name, files }: NonNullable<ScaleFacts["duplicate"]>): string {
  return `it loads every .safetensors file, and "${name}" is in ${files.join(" and in ")}`;
}

/** What TGI 3 says of a compressed-tensors block around weights that stay in 16 bits. */
function blockRefusedByTgi(quantization: Quantization | undefined): string | undefined {
  if (quantization?.method !== "compressed-tensors") return undefined;
  const { config_groups: groups, quantization_status: status, ignore } = quantization.block;
  if (!isObject(groups)) return "the compressed-tensors block has no config_groups";
  if (status !== "frozen" && status !== "compressed") {
    return 'the quantization_status of the compressed-tensors block is neither "frozen" nor "compressed"';
  }
  const leavesLinearAlone = Array.isArray(ignore) && ignore.includes("Linear");
  if (leavesLinearAlone || Object.keys(groups).length > 0) return undefined;
  return 'the compressed-tensors block has no group for linear layers and does not ignore "Linear"';
}

/** Loads the files that the index names. Without a quantization_config, the model has no parameters for scales. */
function judgeVllm(facts: ScaleFacts): EngineVerdict {
  const { quantization } = facts;
  const absent = absentFile(facts);
  if (absent) return refused(`the index names ${absent}, which is not there`);
  const scales = namedScales(facts);
  if (quantization === undefined) {
    const [first] = scales;
    return first ? refused(`without a quantization_config the model has no "${first.name}"`) : unscaled(facts);
  }
  const { method, block } = quantization;
  if (!["compressed-tensors", "fp8", "modelopt", "quark"].includes(method)) return unknown(quantization);
  if (method === "modelopt" && typeof block.quant_algo !== "string")
    return refused("the modelopt block has no quant_algo");
  const refusal = schemeRefusedByVllm(quantization) ?? quarkRefusedByVllm(quantization);
  if (refusal) return refused(refusal);
  const readsOutputs = method === "fp8" || method === "quark";
  const known = new Set(facts.attentions.values());
  const stray = scales.find(({ attention, form }) => !known.has(attention) || (form === "output" && !readsOutputs));
  if (stray) return refused(`the model has no "${stray.name}"`);
  const elements = quantization.kvCacheScheme?.strategy === "attn_head" ? facts.kvHeads : 1;
  const wrong = scales.find((scale) => elementsOf(scale) !== elements);
  if (wrong) return refused(sayElements(wrong, elements));
  if (method !== "compressed-tensors") return judgePairs(facts, scales);
  const scalesOf = scalesByAttention(scales);
  return loadedWith(facts, (attention) => lastWritten(scalesOf(attention)));
}

/** Of a compressed-tensors block alone. */
function schemeRefusedByVllm({ method, kvCacheScheme: scheme }: Quantization): string | undefined {
  if (method !== "compressed-tensors" || scheme === undefined) return undefined;
  if (scheme.type !== "float" || scheme.num_bits !== 8) return "the kv_cache_scheme is not of floats with 8 bits";
  return strategyRefused(scheme) ?? (scheme.symmetric === true ? undefined : "the kv_cache_scheme is not symmetric");
}

/** Of a quark block alone, whose cache is one of the layers that it describes. */
function quarkRefusedByVllm({ method, block }: Quantization): string | undefined {
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

/**
 * Loads as vLLM does, but passes over tensors that the model has no parameter for, if it does not take them for a part of a
 * projection.
 */
function judgeSglang(facts: ScaleFacts): EngineVerdict {
  const { quantization } = facts;
  const named = namedScales(facts);
  if (named.length === 0) return unscaled(facts);
  if (quantization && !["compressed-tensors", "fp8"].includes(quantization.method)) return unknown(quantization);
  const output = named.find(({ form }) => form === "output");
  if (output) return refused(`no projection has "${output.name}"`);
  const known = new Set(facts.attentions.values());
  const scales = named.filter(
    ({ attention, form }) => known.has(attention) && (form === "attention" || form === "projection"),
  );
  if (scales.length === 0) return unscaled(facts);
  if (quantization === undefined) return ignored(facts, "without a quantization_config it passes over scales");
  const refusal = schemeRefusedByVllm(quantization);
  if (refusal) return refused(refusal);
  const wrong = scales.find((scale) => elementsOf(scale) !== 1);
  return wrong ? refused(sayElements(wrong, 1)) : judgePairs(facts, scales);
}

/** A layer with one sound scale uses it for both sides, unless it is V's; one with none stays at 1.0. */
function judgePairs(facts: ScaleFacts, scales: readonly ScaleTensor[]): EngineVerdict {
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

/**
 * Loads model.safetensors alone where there is one, else the files that the index names. With a compressed-tensors block,
 * k_scale and v_scale become buffers of the attention; those without a tensor are memory that nobody has written.
 */
function judgeTransformers(facts: ScaleFacts): EngineVerdict {
  const { quantization } = facts;
  const isSingle = facts.files.includes("model.safetensors");
  const absent = isSingle ? undefined : absentFile(facts);
  if (absent) return refused(`the index names ${absent}, which is not there`);
  const loaded = isSingle ? facts.scales.filter(({ file }) => file === "model.safetensors") : namedScales(facts);
  if (quantization === undefined) {
    return loaded.length > 0 ? ignored(facts, "without a quantization_config it passes over scales") : unscaled(facts);
  }
  if (quantization.method !== "compressed-tensors") return unknown(quantization);
  const { block, kvCacheScheme: scheme } = quantization;
  if (!isObject(block.config_groups)) return refused("the compressed-tensors block has no config_groups");
  if (scheme === undefined) return refused("the compressed-tensors block has no kv_cache_scheme");
  const refusal = strategyRefused(scheme);
  if (refusal) return refused(refusal);
  const own = inOrderOfWriting(loaded).filter(({ kind, form }) => kind !== "kv_scale" && form === "attention");
  const order = new Map(own.map((scale, place) => [scale, place]));
  const scalesOf = scalesByAttention(own);
  // Names of a base model, without "model.", find their place too.
  const named = (name: string) => endingsOf(name).flatMap(scalesOf);
  const written = (name: string) => named(name).sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
  return loadedWith(facts, (attention) => lastWritten(written(attention)), "unwritten");
}

function strategyRefused({ strategy }: Readonly<Record<string, unknown>>): string | undefined {
  if (strategy === "tensor" || strategy === "attn_head") return undefined;
  return `the kv_cache_scheme has strategy ${showJson(strategy)} instead of "tensor"`;
}

function sayElements(scale: ScaleTensor, expected: number | undefined): string {
  return `"${scale.name}" has ${elementsOf(scale)} elements instead of ${expected ?? "one per KV head"}`;
}

function absentFile({ namedFiles, files }: ScaleFacts): string | undefined {
  return [...(namedFiles ?? [])].find((file) => !files.includes(file));
}

/** The name whole, and without its first parts. */
function endingsOf(name: string): string[] {
  const parts = name.split(".");
  return parts.map((_, first) => parts.slice(first).join("."));
}

/** Scales of the files that the index names, of all files without an index. */
function namedScales({ scales, namedFiles }: ScaleFacts): ScaleTensor[] {
  return inOrderOfWriting(scales.filter(({ file }) => namedFiles?.has(file) ?? true));
}

/** Files by name with numbers as numbers, tensors by name within a file. */
function inOrderOfWriting(scales: readonly ScaleTensor[]): ScaleTensor[] {
  const byFile = new Intl.Collator("en", { numeric: true });
  return [...scales].sort((a, b) => byFile.compare(a.file, b.file) || (a.name < b.name ? -1 : 1));
}

/** Each tensor is written over the one before it. kv_scale is written where k_scale is. @param own of one attention */
function lastWritten(own: readonly ScaleTensor[]): FoundScales {
  return { k: own.findLast(({ kind }) => kind !== "v_scale"), v: own.findLast(({ kind }) => kind === "v_scale") };
}
