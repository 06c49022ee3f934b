// How scales of the KV cache stand beside quantized weights, one entry per quantization method: the names under which
// engines look for them, and what the method's own block says. Whether an engine uses them is for the engines' rules.

import { isObject, showJson } from "./json-text.js";
import {
  COMPRESSED_TENSORS_SCHEME,
  OUTPUT_FORMATS,
  type OutputFormat,
  SGLANG,
  TENSORRT_LLM,
  type TensorForm,
  TGI_3,
  VLLM,
} from "./output-formats.js";
import type { Quantization } from "./quantization-block.js";

type Json = Readonly<Record<string, unknown>>;

export interface QuantizedForm extends TensorForm {
  readonly engines: OutputFormat["engines"];
  /** Keys that the block of config.json gets. */
  readonly block: Json;
  /** Whether it is ModelOpt's, whose hf_quant_config.json says the same once more. */
  readonly isOfModelOpt: boolean;
  /**
   * The type that an engine keeps the scales in: they are rounded up to it, so that it changes none. vLLM 0.32 makes
   * the parameter in the model's own type unless the method is compressed-tensors (measured): under bfloat16 it would
   * lower 0.1001 to 0.10009765625.
   */
  readonly keptIn: "float32" | "bfloat16";
}

const MODELOPT_SCHEME = { dynamic: false, num_bits: 8, type: "float" } as const;

/** The schemes of an FP8 cache that this program writes into the blocks of others. */
export const CACHE_SCHEMES: readonly Json[] = [COMPRESSED_TENSORS_SCHEME, MODELOPT_SCHEME];

const { shape, prefix, tensors } = OUTPUT_FORMATS.vllm;
const ATTENTION: TensorForm = { shape, prefix, tensors };

/** What any other method gets: tensors alone. */
const TENSORS_ALONE: QuantizedForm = {
  ...ATTENTION,
  engines: [VLLM, SGLANG],
  block: {},
  isOfModelOpt: false,
  keptIn: "bfloat16",
};

const COMPRESSED_TENSORS: QuantizedForm = {
  ...ATTENTION,
  engines: [VLLM, SGLANG, TGI_3],
  block: { kv_cache_scheme: COMPRESSED_TENSORS_SCHEME },
  isOfModelOpt: false,
  keptIn: "float32",
};

/** TensorRT-LLM reads these names alone; vLLM and SGLang know them, too. */
const MODELOPT: QuantizedForm = {
  shape,
  tensors: ({ kScale, vScale }) => ({ "k_proj.k_scale": kScale, "v_proj.v_scale": vScale }),
  engines: [VLLM, SGLANG, TENSORRT_LLM],
  block: { kv_cache_scheme: MODELOPT_SCHEME },
  isOfModelOpt: true,
  keptIn: "bfloat16",
};

const FORMS: ReadonlyMap<string, QuantizedForm> = new Map([
  ["compressed-tensors", COMPRESSED_TENSORS],
  ["fp8", { ...TENSORS_ALONE, engines: [VLLM, SGLANG, TGI_3] }],
  ["modelopt", MODELOPT],
  ["quark", { ...TENSORS_ALONE, engines: [VLLM] }],
]);

/** The form of a quantization's method. */
export function quantizedForm({ method }: Quantization): QuantizedForm {
  return FORMS.get(method) ?? TENSORS_ALONE;
}

/** Whether the engines of the format for 16-bit weights read the method's form. */
export function readsLikeFormat(quantization: Quantization): boolean {
  return quantizedForm(quantization).engines.includes(TGI_3);
}

/** Keys of config.json that the form needs and that are not there yet, with dots for nested objects. */
export function missingKeys(quantization: Quantization): Json {
  const { block, file, key } = quantization;
  if (file !== "config.json") return {};
  const keys = Object.entries(quantizedForm(quantization).block).filter(([name, ours]) => !holds(block[name], ours));
  return Object.fromEntries(keys.map(([name, ours]) => [`${key}.${name}`, ours]));
}

/** What a block says of the cache that scales for FP8 would contradict; undefined when it says nothing of the kind. */
export function contradictionOf(quantization: Quantization): string | undefined {
  const { file, key, block } = quantization;
  const form = quantizedForm(quantization);
  const said = file === "config.json" ? form.block : form.isOfModelOpt ? { kv_cache_quant_algo: "FP8" } : {};
  for (const [name, ours] of Object.entries(said)) {
    const found = block[name] ?? undefined;
    if (found === undefined || holds(found, ours)) continue;
    return `${file}: ${key}.${name}: expected none, or that of an FP8 cache with a scale per tensor, found ${showJson(found)}`;
  }
  return undefined;
}

/** Whether a value says what ours says, and perhaps more. */
function holds(found: unknown, ours: unknown): boolean {
  if (!isObject(ours)) return found === ours;
  return isObject(found) && Object.entries(ours).every(([key, value]) => found[key] === value);
}
