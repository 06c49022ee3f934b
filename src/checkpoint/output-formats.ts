// The output formats, one entry each: tensor names, shapes, keys of config.json, and the commands that start the
// engines. Everything that lists formats reads this table.

import type { Float8Name } from "../numerics/float8.js";
import type { LayerScales } from "../numerics/scales.js";
import type { EngineName } from "./engine-names.js";
import type { Float32Tensor } from "./safetensors-writer.js";

/** An engine that reads a format. */
export interface EngineCommand {
  readonly name: string;
  /** Whose rule tells what it does with a checkpoint. */
  readonly rule: EngineName;
  /** The command that starts it; FOLDER stands for the checkpoint. */
  readonly command: string;
}

export interface OutputFormat {
  readonly description: string;
  readonly engines: readonly EngineCommand[];
  /** The format of the same scales for engines that do not read this one, if there are such. */
  readonly convertTo?: "vllm";
  readonly dtypes: readonly Float8Name[];
  /** Why a dtype is not offered, for the error message. */
  readonly dtypeRule?: string;
  /** Whether V is stored with the scale of K when K's is larger. */
  readonly sharesScale: boolean;
  readonly shape: readonly number[];
  /** What precedes the names of an attention's scales; absent: its name. */
  readonly prefix?: (attention: string) => string;
  /** The tensors of a layer, without the prefix of its attention. */
  readonly tensors: (scales: LayerScales) => Readonly<Record<string, number>>;
  /** Keys that are added to config.json. */
  readonly config: (dtype: Float8Name) => Readonly<Record<string, unknown>>;
}

const TGI_COMMAND = "text-generation-launcher --model-id FOLDER --kv-cache-dtype fp8_e4m3fn";

/** The engines that read scales from checkpoints, with an FP8 cache. */
export const VLLM = { name: "vLLM", rule: "vllm", command: "vllm serve FOLDER --kv-cache-dtype fp8" } as const;
export const SGLANG = {
  name: "SGLang",
  rule: "sglang",
  command: "python -m sglang.launch_server --model-path FOLDER --kv-cache-dtype fp8_e4m3",
} as const;
export const TENSORRT_LLM = { name: "TensorRT-LLM", rule: "trtllm", command: "trtllm-serve FOLDER" } as const;
export const TGI_3 = { name: "Text Generation Inference 3", rule: "tgi", command: TGI_COMMAND } as const;

/** What compressed-tensors calls a cache with a scale per tensor. */
export const COMPRESSED_TENSORS_SCHEME = {
  ...{ num_bits: 8, type: "float", strategy: "tensor", dynamic: false, symmetric: true },
} as const;

/** vLLM, SGLang and TGI 3 read KV-cache scales of 16-bit weights from this block of the compressed-tensors format. */
const COMPRESSED_TENSORS_KV_CACHE = {
  quant_method: "compressed-tensors",
  quantization_status: "frozen",
  format: "dense",
  config_groups: {},
  ignore: ["Linear"],
  kv_cache_scheme: COMPRESSED_TENSORS_SCHEME,
} as const;

/** vLLM looks for the scales in the `attn` of an attention, which it adds to names unless they end in `attn`. */
function asVllmFindsIt(attention: string): string {
  return /(^|\.)attn$/.test(attention) ? `${attention}.attn` : attention;
}

export const OUTPUT_FORMATS = {
  tgi: {
    description: "TGI's documented format: one kv_scale per layer",
    engines: [{ name: "Text Generation Inference", rule: "tgi-documented", command: TGI_COMMAND }],
    convertTo: "vllm",
    dtypes: ["float8_e4m3fn", "float8_e4m3fnuz"],
    sharesScale: true,
    shape: [],
    tensors: ({ kvScale }) => ({ kv_scale: kvScale }),
    config: (dtype) => ({ kv_cache_torch_dtype: dtype }),
  },
  "tgi-separate": {
    description: "TGI 2.4 and later: kv_scale, and k_scale and v_scale apart",
    engines: [{ name: "Text Generation Inference 2.4+", rule: "tgi", command: TGI_COMMAND }],
    convertTo: "vllm",
    dtypes: ["float8_e4m3fn", "float8_e4m3fnuz"],
    sharesScale: false,
    shape: [],
    tensors: ({ kvScale, kScale, vScale }) => ({ kv_scale: kvScale, k_scale: kScale, v_scale: vScale }),
    config: (dtype) => ({ kv_cache_torch_dtype: dtype }),
  },
  vllm: {
    description: "vLLM, SGLang, TGI 3: k_scale and v_scale with a compressed-tensors block",
    engines: [VLLM, SGLANG, TGI_3],
    dtypes: ["float8_e4m3fn"],
    dtypeRule:
      "vLLM and SGLang take the scales for E4M3FN; on AMD MI300, whose cache is E4M3FNUZ, SGLang doubles them and vLLM does not, so give those for vLLM there --headroom 2",
    sharesScale: false,
    shape: [1],
    prefix: asVllmFindsIt,
    tensors: ({ kScale, vScale }) => ({ k_scale: kScale, v_scale: vScale }),
    config: () => ({ quantization_config: COMPRESSED_TENSORS_KV_CACHE }),
  },
} as const satisfies Record<string, OutputFormat>;

export type OutputFormatName = keyof typeof OUTPUT_FORMATS;

/** The format of the same scales for engines that do not read this one; undefined where all that it is for do. */
export function conversionOf(name: OutputFormatName): OutputFormatName | undefined {
  const format: OutputFormat = OUTPUT_FORMATS[name];
  return format.convertTo;
}

/**
 * Prefixes of scales by layer: of the attention that writes the cache, and of those that read it, which engines look for
 * under their own names.
 */
export type ScaleNames = ReadonlyMap<number, readonly [string, ...string[]]>;

/** The names of caches' scales. */
export function scaleNames(
  caches: Iterable<{
    readonly layer: number;
    readonly name: string;
    readonly sharedBy?: readonly { readonly name: string }[];
  }>,
): ScaleNames {
  return new Map(
    Array.from(caches, ({ layer, name, sharedBy = [] }) => [layer, [name, ...sharedBy.map((reader) => reader.name)]]),
  );
}

/** The names of a cache's scales. @throws RangeError when the layer is missing */
export function namesOf(names: ScaleNames, layer: number): readonly [string, ...string[]] {
  const found = names.get(layer);
  if (found === undefined) throw new RangeError(`no name for the scales of layer ${layer}`);
  return found;
}

/** How the tensors of a layer are called and shaped. */
export type TensorForm = Pick<OutputFormat, "shape" | "prefix" | "tensors">;

/** The tensors of all caches in a format, or in another form. */
export function scaleTensors(
  form: OutputFormatName | TensorForm,
  scales: readonly LayerScales[],
  names: ScaleNames,
): Float32Tensor[] {
  const format: TensorForm = typeof form === "string" ? OUTPUT_FORMATS[form] : form;
  return scales.flatMap((layer) =>
    namesOf(names, layer.layer).flatMap((name) =>
      Object.entries(format.tensors(layer)).map(([tensor, scale]) => ({
        name: `${format.prefix?.(name) ?? name}.${tensor}`,
        shape: format.shape,
        values: Float32Array.of(scale),
      })),
    ),
  );
}
