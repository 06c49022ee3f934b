// Problems of a checkpoint's scales, for any engine: one function per rule, facts in, sentences out. A checkpoint
// without scales has no problem. Knows nothing of engines' differences.

import { FLOAT8_FORMATS } from "../numerics/float8.js";
import { layerNames } from "../numerics/layer-names.js";
import { elementsOf, isSound } from "./engine-verdicts.js";
import { showJson } from "./json-text.js";
import type { Quantization } from "./quantization-block.js";
import { type ScaleTensor, scalesByAttention } from "./read-scales.js";
import type { ScaleFacts } from "./scale-facts.js";

/** Names are stable: scripts may look for them. */
export type ProblemKind =
  | "foreign-names"
  | "missing-layer"
  | "lone-scale"
  | "kv-scale-beside-block"
  | "file-not-in-index"
  | "index-contradicts-files"
  | "duplicate-scale"
  | "unknown-layer"
  | "wrong-shape"
  | "wrong-dtype"
  | "not-positive"
  | "all-one"
  | "dtype-contradicts-block"
  | "unknown-cache-dtype"
  | "missing-cache-dtype"
  | "block-without-scales";

export interface ScaleProblem {
  readonly kind: ProblemKind;
  readonly message: string;
}

type Rule = (facts: ScaleFacts) => string | undefined;

const RULES = {
  "foreign-names": foreignNames,
  "block-without-scales": blockWithoutScales,
  "missing-layer": missingLayer,
  "lone-scale": loneScale,
  "unknown-layer": unknownLayer,
  "kv-scale-beside-block": sharedBesideBlock,
  "file-not-in-index": fileNotInIndex,
  "index-contradicts-files": indexContradictsFiles,
  "duplicate-scale": duplicateScale,
  "wrong-shape": wrongShape,
  "wrong-dtype": wrongDtype,
  "not-positive": notPositive,
  "all-one": allOne,
  "dtype-contradicts-block": dtypeContradictsBlock,
  "unknown-cache-dtype": unknownCacheDtype,
  "missing-cache-dtype": missingCacheDtype,
} as const satisfies Record<ProblemKind, Rule>;

/** Every problem, the most serious kinds first. */
export function findScaleProblems(facts: ScaleFacts): ScaleProblem[] {
  const kinds = Object.keys(RULES) as ProblemKind[];
  return kinds.flatMap((kind) => {
    const message = RULES[kind](facts);
    return message === undefined ? [] : [{ kind, message }];
  });
}

function foreignNames({ foreignName }: ScaleFacts): string | undefined {
  if (foreignName === undefined) return undefined;
  return `${foreignName.problem.charAt(0).toUpperCase()}${foreignName.problem.slice(1)}.`;
}

function blockWithoutScales({ scales, quantization }: ScaleFacts): string | undefined {
  const scheme = quantization?.kvCacheScheme;
  if (scales.length > 0 || scheme === undefined || scheme.dynamic === true) return undefined;
  const key = quantization?.file === "config.json" ? "kv_cache_scheme" : "kv_cache_quant_algo";
  return `${quantization?.file} promises scales (${key}), but no file has any: engines run an FP8 cache at 1.0.`;
}

function missingLayer({ attentions, scales }: ScaleFacts): string | undefined {
  const scaled = new Set(scales.map(({ attention }) => attention));
  const without = [...attentions].filter(([, name]) => !scaled.has(name)).map(([layer]) => layer);
  if (scales.length === 0 || without.length === 0) return undefined;
  const has = without.length === 1 ? "has" : "have";
  return `${layerNames(without)} ${has} no scale: engines run there at 1.0 without an error.`;
}

function loneScale({ scales }: ScaleFacts): string | undefined {
  const scalesOf = scalesByAttention(scales);
  const has = (attention: string, kind: string) => scalesOf(attention).some((scale) => scale.kind === kind);
  const alone = scales.filter(
    ({ attention, kind }) =>
      (kind === "k_scale" && !has(attention, "v_scale")) || (kind === "v_scale" && !has(attention, "k_scale")),
  );
  return sayOf(alone, ({ kind }) => `has no ${kind === "k_scale" ? "v_scale" : "k_scale"} beside it`);
}

function unknownLayer({ attentions, scales }: ScaleFacts): string | undefined {
  const known = new Set(attentions.values());
  const stray = scales.filter(({ attention }) => !known.has(attention));
  return sayOf(stray, ({ attention }) => `belongs to "${attention}", which the checkpoint does not have`);
}

function sharedBesideBlock({ scales, quantization }: ScaleFacts): string | undefined {
  if (quantization?.method !== "compressed-tensors") return undefined;
  const shared = scales.filter(({ kind }) => kind === "kv_scale");
  return sayOf(
    shared,
    () => "stands beside a compressed-tensors block: vLLM takes it for K alone, in place of k_scale",
  );
}

function fileNotInIndex({ scales, namedFiles }: ScaleFacts): string | undefined {
  const unnamed = new Set(scales.map(({ file }) => file).filter((file) => namedFiles?.has(file) === false));
  if (unnamed.size === 0) return undefined;
  return `The index does not name ${[...unnamed].join(", ")}: vLLM, SGLang and transformers ignore the scales in it.`;
}

function indexContradictsFiles({ misplaced }: ScaleFacts): string | undefined {
  const [first] = misplaced;
  if (first === undefined) return undefined;
  return `The index places "${first[0]}" in ${first[1]}, where it is not${andMore(misplaced.size)}.`;
}

function duplicateScale({ scales }: ScaleFacts): string | undefined {
  const seen = new Set<string>();
  const twice = scales.filter(({ name }) => seen.size === seen.add(name).size);
  return sayOf(twice, ({ file }) => `is in ${file} and in another file: TGI refuses it, others take the last`);
}

function wrongShape(facts: ScaleFacts): string | undefined {
  const perHead = facts.quantization?.kvCacheScheme?.strategy === "attn_head" ? facts.kvHeads : 1;
  const wrong = facts.scales.filter((scale) => elementsOf(scale) !== 1 && elementsOf(scale) !== perHead);
  return sayOf(wrong, ({ shape }) => `has shape [${shape.join(", ")}] instead of one element`);
}

function wrongDtype({ scales }: ScaleFacts): string | undefined {
  const wrong = scales.filter(({ dtype }) => !["F64", "F32", "F16", "BF16"].includes(dtype));
  return sayOf(wrong, ({ dtype }) => `has dtype ${dtype} instead of F32`);
}

function notPositive({ scales }: ScaleFacts): string | undefined {
  const wrong = scales.filter((scale) => scale.values !== undefined && !isSound(scale));
  return sayOf(wrong, ({ values }) => `is ${values?.join(", ")}: a scale is finite and positive`);
}

function allOne({ scales }: ScaleFacts): string | undefined {
  const isOne = scales.every(({ values }) => values?.every((value) => value === 1) ?? false);
  return scales.length > 0 && isOne ? "Every scale is 1.0: the checkpoint was not calibrated." : undefined;
}

function dtypeContradictsBlock({ scales, quantization, kvCacheDtype }: ScaleFacts): string | undefined {
  if (scales.length === 0 || quantization === undefined || kvCacheDtype !== "float8_e4m3fnuz") return undefined;
  return `kv_cache_torch_dtype is float8_e4m3fnuz, but engines that read a ${quantization.method} block take scales for float8_e4m3fn. ${doubling(quantization)}`;
}

function doubling({ method }: Quantization): string {
  return method === "compressed-tensors"
    ? "On AMD MI300 SGLang doubles them, which makes them twice too large; vLLM does not."
    : "On AMD MI300 they double them, which makes them twice too large.";
}

function unknownCacheDtype({ kvCacheDtype }: ScaleFacts): string | undefined {
  if (kvCacheDtype === undefined || (typeof kvCacheDtype === "string" && Object.hasOwn(FLOAT8_FORMATS, kvCacheDtype))) {
    return undefined;
  }
  const known = Object.keys(FLOAT8_FORMATS).join(" or ");
  return `config.json: kv_cache_torch_dtype: expected ${known}, found ${showJson(kvCacheDtype)}.`;
}

function missingCacheDtype({ scales, quantization, kvCacheDtype }: ScaleFacts): string | undefined {
  const isDocumented = quantization === undefined && scales.some(({ kind }) => kind === "kv_scale");
  if (!isDocumented || kvCacheDtype !== undefined) return undefined;
  return "config.json lacks kv_cache_torch_dtype, which TGI's documented format asks for beside kv_scale.";
}

/** A sentence about the first of the tensors, and the number of others. */
function sayOf(scales: readonly ScaleTensor[], rest: (scale: ScaleTensor) => string): string | undefined {
  const [first] = scales;
  if (first === undefined) return undefined;
  return `${first.file}: "${first.name}" ${rest(first)}${andMore(scales.length)}.`;
}

function andMore(count: number): string {
  return count === 1 ? "" : ` (and ${count - 1} more like it)`;
}
