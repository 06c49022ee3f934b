// Recognizes scales of a KV cache by tensor names, in every form that an engine reads. Does not know their values, or
// which engine reads which form.

import { layerOf } from "./attention-names.js";
import type { SafetensorsHeader } from "./safetensors-header.js";

export type ScaleKind = "kv_scale" | "k_scale" | "v_scale";

/** The forms, the longer names first. */
const FORMS = {
  /** `self_attn.k_proj.output_scale`, of AMD Quark. */
  output: /^(?<attention>.+)\.(?<side>[kv])_proj\.output_scale$/,
  /** `self_attn.k_cache.scale`, of Hunyuan. */
  cache: /^(?<attention>.+)\.(?<side>[kv])_cache\.scale$/,
  /** `self_attn.k_proj.k_scale`, of NVIDIA ModelOpt. */
  projection: /^(?<attention>.+)\.(?:[kv]|qkv|qkqkv)_proj\.(?<side>kv|k|v)_scale$/,
  /**
   * `self_attn.attn.k_scale`, as vLLM calls its parameter. Right after a layer's number, and in DBRX's `norm_attn_norm`,
   * `attn` is the attention itself.
   */
  parameter: /^(?<attention>.+\.(?!norm_attn_norm\.)\D[^.]*)\.attn\.(?<side>[kv])_scale$/,
  /** `self_attn.k_scale`, of TGI, llm-compressor and this program. */
  attention: /^(?<attention>.+)\.(?<side>kv|k|v)_scale$/,
} as const satisfies Record<string, RegExp>;

export type ScaleForm = keyof typeof FORMS;

export interface ScaleName {
  readonly kind: ScaleKind;
  readonly form: ScaleForm;
  /** The attention it belongs to. */
  readonly attention: string;
  /** The layer in its name. */
  readonly layer: number | undefined;
}

/** Taken apart, `model.layers.3.self_attn.k_proj.k_scale` is the `k_scale` of `model.layers.3.self_attn`. */
export function parseScaleName(name: string): ScaleName | undefined {
  for (const form of Object.keys(FORMS) as ScaleForm[]) {
    const { attention, side } = FORMS[form].exec(name)?.groups ?? {};
    if (attention === undefined) continue;
    const kind = side === "kv" ? "kv_scale" : side === "k" ? "k_scale" : "v_scale";
    return { kind, form, attention, layer: layerOf(name) };
  }
  return undefined;
}

/** Whether engines would read the tensor as a scale of the KV cache. */
export function isScaleName(name: string): boolean {
  return parseScaleName(name) !== undefined;
}

/** Whether a file has scales and nothing else, as those of this program do. */
export function holdsOnlyScales({ tensors }: SafetensorsHeader): boolean {
  return tensors.length > 0 && tensors.every(({ name }) => isScaleName(name));
}
