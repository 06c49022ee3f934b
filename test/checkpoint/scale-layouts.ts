// Layouts of one checkpoint, good and bad: the example with scales in every way that has been seen. The folders are built
// here and judged elsewhere, by real engines and by ours. Uses nothing of src/.

import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SafetensorsFile } from "../helpers/example-checkpoint-safetensors.js";
import { REPOSITORY } from "../helpers/run-cli.js";
import { QUANTIZED_WEIGHTS, type QuantizedWeightsName, quantizeWeights } from "./quantized-weights.js";

const EXAMPLE = join(REPOSITORY, "examples/tiny-llama");
const INDEX = "model.safetensors.index.json";
const WEIGHTS_FILE = "model-00001-of-00001.safetensors";
const SCALES_FILE = "model-kv-scales.safetensors";
export const LAYERS = 6;

type Json = Record<string, unknown>;
type Dtype = "F64" | "F32" | "F16" | "BF16" | "I32";

interface Scale {
  readonly name: string;
  readonly values: readonly number[];
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface Layout {
  /** In a shard of their own. */
  readonly scales?: readonly Scale[];
  /** Keys that config.json gets. */
  readonly config?: Json;
  /** "index": as save_pretrained does. "unnamed": the index leaves the scales' file out. "single": one file, no index. */
  readonly files?: "index" | "unnamed" | "single" | "single beside index" | "no index";
  /** Names for the index instead of the tensors'. */
  readonly indexNames?: (name: string) => string;
  /** The scales once more, in another file of the index. */
  readonly twice?: readonly Scale[];
  /** The scales' file is named but not there. */
  readonly fileMissing?: boolean;
  /** How the weights of linear layers are stored; 16 bits by default. */
  readonly weights?: QuantizedWeightsName;
}

const KV_CACHE_SCHEME = { num_bits: 8, type: "float", strategy: "tensor", dynamic: false, symmetric: true };
const COMPRESSED_TENSORS = {
  quant_method: "compressed-tensors",
  quantization_status: "frozen",
  format: "dense",
  config_groups: {},
  ignore: ["Linear"],
  kv_cache_scheme: KV_CACHE_SCHEME,
};
const BLOCK = block({});
const FN = { kv_cache_torch_dtype: "float8_e4m3fn" };

/** The block with other values; a key of undefined is left out. */
function block(changes: Json): Json {
  return { quantization_config: { ...COMPRESSED_TENSORS, ...changes } };
}

function scheme(changes: Json): Json {
  return block({ kv_cache_scheme: { ...KV_CACHE_SCHEME, ...changes } });
}

/** Powers of two times a small integer, exact in 16 bits. `kv` differs from both, so that it shows who reads it. */
export const VALUE = {
  k: (layer: number) => 0.25 * (layer + 1),
  v: (layer: number) => 0.125 * (layer + 1),
  kv: (layer: number) => 0.5 * (layer + 1),
} as const;

type Kind = keyof typeof VALUE;

interface Shape {
  readonly dtype?: Dtype;
  readonly shape?: readonly number[];
  /** Layers that get the scale; all by default. */
  readonly layers?: readonly number[];
  readonly value?: number;
  readonly nameOf?: (layer: number, kind: Kind) => string;
}

/** Scales of the given kinds. */
function scales(kinds: readonly Kind[], form: Shape = {}): Scale[] {
  const { dtype = "F32", shape = [1], layers = ALL, nameOf = plainName } = form;
  const elements = shape.reduce((product, size) => product * size, 1);
  return layers.flatMap((layer) =>
    kinds.map((kind) => ({
      name: nameOf(layer, kind),
      values: Array.from({ length: elements }, () => form.value ?? VALUE[kind](layer)),
      dtype,
      shape,
    })),
  );
}

const ALL = Array.from({ length: LAYERS }, (_, layer) => layer);
const NOT_2 = ALL.filter((layer) => layer !== 2);
const K_AND_V = ["k", "v"] as const;

function plainName(layer: number, kind: Kind): string {
  return `model.layers.${layer}.self_attn.${kind}_scale`;
}

function modelOptName(layer: number, kind: Kind): string {
  return `model.layers.${layer}.self_attn.${kind}_proj.${kind}_scale`;
}

/** As vLLM calls its own parameters. */
function engineName(layer: number, kind: Kind): string {
  return `model.layers.${layer}.self_attn.attn.${kind}_scale`;
}

/** Of what a projection puts out, as AMD Quark and older exporters name it. */
function outputName(layer: number, kind: Kind): string {
  return `model.layers.${layer}.self_attn.${kind}_proj.output_scale`;
}

function cacheName(layer: number, kind: Kind): string {
  return `model.layers.${layer}.self_attn.${kind}_cache.scale`;
}

/** Every linear layer left in 16 bits: what remains of the method is its way with the cache. */
const LINEAR_LAYERS = ALL.flatMap((layer) => [
  ...["q", "k", "v", "o", "qkv"].map((part) => `model.layers.${layer}.self_attn.${part}_proj`),
  ...["gate", "up", "down", "gate_up"].map((part) => `model.layers.${layer}.mlp.${part}_proj`),
]);
const FP8 = {
  quantization_config: { quant_method: "fp8", activation_scheme: "dynamic", ignored_layers: LINEAR_LAYERS },
};
const MODELOPT = {
  quantization_config: {
    quant_method: "modelopt",
    quant_algo: "FP8",
    kv_cache_scheme: { type: "float", num_bits: 8, dynamic: false },
    ignore: ["lm_head", "model.layers*"],
  },
};
const QUARK_CACHE = {
  output_tensors: { dtype: "fp8_e4m3", qscheme: "per_tensor", is_dynamic: false, symmetric: true },
};
const QUARK = quark({});

function quark(changes: Json): Json {
  return {
    quantization_config: {
      quant_method: "quark",
      export: { kv_cache_group: ["*k_proj", "*v_proj"], pack_method: "reorder" },
      layer_quant_config: { "*k_proj": QUARK_CACHE, "*v_proj": QUARK_CACHE },
      global_quant_config: { weight: null, input_tensors: null, output_tensors: null },
      exclude: ["lm_head", ...LINEAR_LAYERS],
      ...changes,
    },
  };
}

function quarkCache(changes: Json): Json {
  const cache = { output_tensors: { ...QUARK_CACHE.output_tensors, ...changes } };
  return quark({ layer_quant_config: { "*k_proj": cache, "*v_proj": cache } });
}

/** Really quantized weights, and the block that says so. @param changes keys of the block */
function quantized(weights: QuantizedWeightsName, changes: Json = {}): Pick<Layout, "weights" | "config"> {
  return { weights, config: { quantization_config: { ...QUANTIZED_WEIGHTS[weights].config, ...changes } } };
}

const WITH_SCHEME = { kv_cache_scheme: KV_CACHE_SCHEME };
const MODELOPT_SCHEME = { kv_cache_scheme: { dynamic: false, num_bits: 8, type: "float" } };
const MODELOPT_KV_ONLY = {
  quantization_config: { quant_method: "modelopt", kv_cache_quant_algo: "FP8", quant_algo: null },
};

export const LAYOUTS = {
  "no scales": {},
  "no scales, block": { config: BLOCK },

  "k and v [1], block": { scales: scales(K_AND_V), config: BLOCK },
  "k and v 0-dim, block": { scales: scales(K_AND_V, { shape: [] }), config: BLOCK },
  "k and v [1,1], block": { scales: scales(K_AND_V, { shape: [1, 1] }), config: BLOCK },
  "k and v [2], block": { scales: scales(K_AND_V, { shape: [2] }), config: BLOCK },
  "k and v BF16, block": { scales: scales(K_AND_V, { dtype: "BF16" }), config: BLOCK },
  "k and v F16, block": { scales: scales(K_AND_V, { dtype: "F16" }), config: BLOCK },
  "k and v F64, block": { scales: scales(K_AND_V, { dtype: "F64" }), config: BLOCK },
  "k and v I32, block": { scales: scales(K_AND_V, { dtype: "I32", value: 2 }), config: BLOCK },
  "k and v of value 1, block": { scales: scales(K_AND_V, { value: 1 }), config: BLOCK },
  "k and v NaN, block": { scales: scales(K_AND_V, { value: Number.NaN }), config: BLOCK },
  "k and v infinite, block": { scales: scales(K_AND_V, { value: Number.POSITIVE_INFINITY }), config: BLOCK },
  "k and v negative, block": { scales: scales(K_AND_V, { value: -0.5 }), config: BLOCK },
  "k and v zero, block": { scales: scales(K_AND_V, { value: 0 }), config: BLOCK },

  "k alone, block": { scales: scales(["k"]), config: BLOCK },
  "v alone, block": { scales: scales(["v"]), config: BLOCK },
  "kv alone, block": { scales: scales(["kv"], { shape: [] }), config: BLOCK },
  "kv beside k and v, block": { scales: scales(["kv", "k", "v"]), config: BLOCK },
  "kv after k and v, block": { scales: scales(["k", "v", "kv"]), config: BLOCK },
  "a layer without scales, block": { scales: scales(K_AND_V, { layers: NOT_2 }), config: BLOCK },
  "a layer with k alone, block": {
    scales: [...scales(K_AND_V, { layers: NOT_2 }), ...scales(["k"], { layers: [2] })],
    config: BLOCK,
  },
  "scales of a layer that does not exist, block": {
    scales: scales(K_AND_V, { layers: [...ALL, LAYERS] }),
    config: BLOCK,
  },
  "k_proj.k_scale and v_proj.v_scale, block": { scales: scales(K_AND_V, { nameOf: modelOptName }), config: BLOCK },
  "names without model., block": {
    scales: scales(K_AND_V, { nameOf: (layer, kind) => `layers.${layer}.self_attn.${kind}_scale` }),
    config: BLOCK,
  },
  "names of another attention, block": {
    scales: scales(K_AND_V, { nameOf: (layer, kind) => `model.layers.${layer}.attention.${kind}_scale` }),
    config: BLOCK,
  },

  "attn.k_scale and attn.v_scale, block": { scales: scales(K_AND_V, { nameOf: engineName }), config: BLOCK },
  "attn.k_scale beside k and v, block": {
    scales: [...scales(K_AND_V), ...scales(["k"], { nameOf: engineName, value: 8 })],
    config: BLOCK,
  },
  "k_proj.output_scale and v_proj.output_scale, block": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    config: BLOCK,
  },
  "k_cache.scale and v_cache.scale, block": { scales: scales(K_AND_V, { nameOf: cacheName }), config: BLOCK },

  "kv [] and dtype, no block": { scales: scales(["kv"], { shape: [] }), config: FN },
  "kv, k and v [] and dtype, no block": { scales: scales(["kv", "k", "v"], { shape: [] }), config: FN },
  "k and v, no block": { scales: scales(K_AND_V) },
  "k_proj.k_scale and v_proj.v_scale, no block": { scales: scales(K_AND_V, { nameOf: modelOptName }) },

  "attn.k_scale and attn.v_scale, no block": { scales: scales(K_AND_V, { nameOf: engineName }) },
  "k_proj.output_scale and v_proj.output_scale, no block": { scales: scales(K_AND_V, { nameOf: outputName }) },
  "k_cache.scale and v_cache.scale, no block": { scales: scales(K_AND_V, { nameOf: cacheName }) },

  "k and v, block and dtype": { scales: scales(K_AND_V), config: { ...BLOCK, ...FN } },
  "k and v, block and fnuz dtype": {
    scales: scales(K_AND_V),
    config: { ...BLOCK, kv_cache_torch_dtype: "float8_e4m3fnuz" },
  },

  "file not in the index, block": { scales: scales(K_AND_V), config: BLOCK, files: "unnamed" },
  "file not in the index, no block": { scales: scales(K_AND_V), files: "unnamed" },
  "kv in a file not in the index, no block": {
    scales: scales(["kv"], { shape: [] }),
    config: FN,
    files: "unnamed",
  },
  "index with other names, block": {
    scales: scales(K_AND_V),
    config: BLOCK,
    indexNames: (name) => name.replace(/[kv]_scale$/, "old_scale"),
  },
  "file named but missing, block": { scales: scales(K_AND_V), config: BLOCK, fileMissing: true },
  "twice in the index's files, block": {
    scales: scales(K_AND_V),
    twice: scales(K_AND_V, { value: 8 }),
    config: BLOCK,
  },
  "one file, block": { scales: scales(K_AND_V), config: BLOCK, files: "single" },
  "one file and a file of scales without index, block": { scales: scales(K_AND_V), config: BLOCK, files: "no index" },
  "one file beside an index that names the scales, block": {
    scales: scales(K_AND_V),
    config: BLOCK,
    files: "single beside index",
  },

  "k and v, block without kv_cache_scheme": {
    scales: scales(K_AND_V),
    config: block({ kv_cache_scheme: undefined }),
  },
  "k and v, block with kv_cache_scheme null": { scales: scales(K_AND_V), config: block({ kv_cache_scheme: null }) },
  "k and v, block without symmetric": { scales: scales(K_AND_V), config: scheme({ symmetric: undefined }) },
  "k and v, block of int8": { scales: scales(K_AND_V), config: scheme({ type: "int" }) },
  "k and v, block of strategy channel": { scales: scales(K_AND_V), config: scheme({ strategy: "channel" }) },
  "k and v, block of strategy attn_head": {
    scales: scales(K_AND_V, { shape: [2] }),
    config: scheme({ strategy: "attn_head" }),
  },
  "k and v, block that ignores nothing": { scales: scales(K_AND_V), config: block({ ignore: [] }) },
  "k and v, block that ignores lm_head": { scales: scales(K_AND_V), config: block({ ignore: ["lm_head"] }) },
  "k and v, block without config_groups": { scales: scales(K_AND_V), config: block({ config_groups: undefined }) },
  "k and v, block without quantization_status": {
    scales: scales(K_AND_V),
    config: block({ quantization_status: undefined }),
  },

  "k and v, fp8": { scales: scales(K_AND_V), config: FP8 },
  "kv alone, fp8": { scales: scales(["kv"], { shape: [] }), config: FP8 },
  "v alone, fp8": { scales: scales(["v"]), config: FP8 },
  "k alone, fp8": { scales: scales(["k"]), config: FP8 },
  "kv beside k and v, fp8": { scales: scales(["kv", "k", "v"]), config: FP8 },
  "a layer without scales, fp8": { scales: scales(K_AND_V, { layers: NOT_2 }), config: FP8 },
  "k and v negative, fp8": { scales: scales(K_AND_V, { value: -0.5 }), config: FP8 },
  "attn.k_scale and attn.v_scale, fp8": { scales: scales(K_AND_V, { nameOf: engineName }), config: FP8 },
  "k_proj.output_scale and v_proj.output_scale, fp8": { scales: scales(K_AND_V, { nameOf: outputName }), config: FP8 },
  "k_proj.output_scale beside k and v, fp8": {
    scales: [...scales(K_AND_V), ...scales(["k"], { nameOf: outputName, value: 8 })],
    config: FP8,
  },
  "k_cache.scale and v_cache.scale, fp8": { scales: scales(K_AND_V, { nameOf: cacheName }), config: FP8 },
  "k_proj.output_scale and v_proj.output_scale, quark": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    config: QUARK,
  },
  "k_proj.output_scale alone, quark": { scales: scales(["k"], { nameOf: outputName }), config: QUARK },
  "k_proj.output_scale and v_proj.output_scale, quark of int8": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    config: quarkCache({ dtype: "int8" }),
  },
  "k_proj.output_scale and v_proj.output_scale, quark per channel": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    config: quarkCache({ qscheme: "per_channel" }),
  },
  "k_proj.output_scale and v_proj.output_scale, quark without export": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    config: quark({ export: undefined }),
  },
  "k_proj.output_scale and v_proj.output_scale, quark without a cache": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    config: quark({ export: { kv_cache_group: [], pack_method: "reorder" }, layer_quant_config: {} }),
  },
  "no scales, quark": { config: QUARK },
  "v_proj.output_scale alone, quark": { scales: scales(["v"], { nameOf: outputName }), config: QUARK },
  "k and v, quark": { scales: scales(K_AND_V), config: QUARK },
  "k_proj.output_scale and v_proj.output_scale, modelopt": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    config: MODELOPT,
  },
  "attn.k_scale and attn.v_scale, modelopt": { scales: scales(K_AND_V, { nameOf: engineName }), config: MODELOPT },
  "k_proj.k_scale and v_proj.v_scale, modelopt": {
    scales: scales(K_AND_V, { nameOf: modelOptName }),
    config: MODELOPT,
  },
  "k_proj.k_scale and v_proj.v_scale, modelopt for the cache alone": {
    scales: scales(K_AND_V, { nameOf: modelOptName }),
    config: MODELOPT_KV_ONLY,
  },

  "no scales, fp8 weights per tensor": quantized("fp8 per tensor"),
  "k and v, fp8 weights per tensor": { scales: scales(K_AND_V), ...quantized("fp8 per tensor") },
  "k and v that bfloat16 rounds, fp8 weights per tensor": {
    scales: scales(K_AND_V, { value: 0.1001 }),
    ...quantized("fp8 per tensor"),
  },
  "kv alone, fp8 weights per tensor": { scales: scales(["kv"], { shape: [] }), ...quantized("fp8 per tensor") },
  "k and v, fp8 weights per block": { scales: scales(K_AND_V), ...quantized("fp8 per block") },
  "no scales, compressed int8 weights": quantized("compressed-tensors int8"),
  "k and v, compressed int8 weights": { scales: scales(K_AND_V), ...quantized("compressed-tensors int8", WITH_SCHEME) },
  "k and v, compressed int8 weights without kv_cache_scheme": {
    scales: scales(K_AND_V),
    ...quantized("compressed-tensors int8"),
  },
  "k and v, compressed fp8 weights": { scales: scales(K_AND_V), ...quantized("compressed-tensors fp8", WITH_SCHEME) },
  "k and v, compressed 4-bit weights": {
    scales: scales(K_AND_V),
    ...quantized("compressed-tensors w4a16", WITH_SCHEME),
  },
  "no scales, gptq weights": quantized("gptq"),
  "k and v, gptq weights": { scales: scales(K_AND_V), ...quantized("gptq") },
  "k_proj.k_scale and v_proj.v_scale, gptq weights": {
    scales: scales(K_AND_V, { nameOf: modelOptName }),
    ...quantized("gptq"),
  },
  "attn.k_scale and attn.v_scale, awq weights": {
    scales: scales(K_AND_V, { nameOf: engineName }),
    ...quantized("awq"),
  },
  "attn.k_scale and attn.v_scale, gptq weights": {
    scales: scales(K_AND_V, { nameOf: engineName }),
    ...quantized("gptq"),
  },
  "k_proj.output_scale and v_proj.output_scale, gptq weights": {
    scales: scales(K_AND_V, { nameOf: outputName }),
    ...quantized("gptq"),
  },
  "k_cache.scale and v_cache.scale, gptq weights": {
    scales: scales(K_AND_V, { nameOf: cacheName }),
    ...quantized("gptq"),
  },
  "kv alone, gptq weights": { scales: scales(["kv"], { shape: [] }), ...quantized("gptq") },
  "file not in the index, gptq weights": { scales: scales(K_AND_V), files: "unnamed", ...quantized("gptq") },
  "no scales, awq weights": quantized("awq"),
  "k and v, awq weights": { scales: scales(K_AND_V), ...quantized("awq") },
  "k_proj.k_scale and v_proj.v_scale, awq weights": {
    scales: scales(K_AND_V, { nameOf: modelOptName }),
    ...quantized("awq"),
  },
  "k and v, awq weights that name what is not quantized": {
    scales: scales(K_AND_V),
    ...quantized("awq", { modules_to_not_convert: ["lm_head"] }),
  },
  "kv alone, awq weights": { scales: scales(["kv"], { shape: [] }), ...quantized("awq") },
  "k and v, modelopt fp8 weights": { scales: scales(K_AND_V), ...quantized("modelopt", MODELOPT_SCHEME) },
  "k_proj.k_scale and v_proj.v_scale, modelopt fp8 weights": {
    scales: scales(K_AND_V, { nameOf: modelOptName }),
    ...quantized("modelopt", MODELOPT_SCHEME),
  },
} as const satisfies Record<string, Layout>;

export type LayoutName = keyof typeof LAYOUTS;

/** Builds a layout in an empty or new folder. Weights are links to the example's. */
export function buildLayout(layout: Layout, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const side = readdirSync(EXAMPLE).filter((name) => !/^config\.json$|safetensors/.test(name));
  for (const name of side) symlinkSync(join(EXAMPLE, name), join(folder, name));
  const config = JSON.parse(readFileSync(join(EXAMPLE, "config.json"), "utf8")) as Json;
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...layout.config }));
  const index = JSON.parse(readFileSync(join(EXAMPLE, INDEX), "utf8")) as { weight_map: Record<string, string> };
  const given = layout.scales ?? [];
  const { files = "index" } = layout;
  if (layout.weights !== undefined) {
    const weights = new SafetensorsFile(quantizeWeights(wholeModel(), layout.weights), { format: "pt" });
    writeFileSync(join(folder, WEIGHTS_FILE), weights.bytes());
    index.weight_map = Object.fromEntries(weights.names().map((name) => [name, WEIGHTS_FILE]));
  } else if (files !== "index" && files !== "unnamed") {
    const weights = wholeModel();
    const inside = files === "single" ? given : [];
    writeFileSync(join(folder, "model.safetensors"), withScales(weights, inside));
  } else {
    for (const shard of shardNames()) symlinkSync(join(EXAMPLE, shard), join(folder, shard));
  }
  if (files !== "single" && given.length > 0 && !layout.fileMissing) writeScales(folder, SCALES_FILE, given);
  if (layout.twice !== undefined) writeScales(folder, "model-zz-scales.safetensors", layout.twice);
  if (files === "single" || files === "no index") return folder;
  if (files === "single beside index") {
    for (const name of Object.keys(index.weight_map)) index.weight_map[name] = "model.safetensors";
  }
  if (files !== "unnamed") {
    for (const { name } of given) index.weight_map[layout.indexNames?.(name) ?? name] = SCALES_FILE;
  }
  if (layout.twice !== undefined) index.weight_map["a.name"] = "model-zz-scales.safetensors";
  writeFileSync(join(folder, INDEX), JSON.stringify(index));
  return folder;
}

function shardNames(): string[] {
  return readdirSync(EXAMPLE).filter((name) => name.endsWith(".safetensors"));
}

function wholeModel(): SafetensorsFile {
  const shards = shardNames().map((name) => SafetensorsFile.parse(readFileSync(join(EXAMPLE, name))));
  return new SafetensorsFile(new Map(shards.flatMap(({ tensors }) => [...tensors])), { format: "pt" });
}

function writeScales(folder: string, file: string, given: readonly Scale[]): void {
  writeFileSync(join(folder, file), withScales(new SafetensorsFile(new Map(), { format: "pt" }), given));
}

function withScales({ tensors, metadata }: SafetensorsFile, given: readonly Scale[]): Buffer {
  const added = given.map(({ name, dtype, shape, values }) => {
    return [name, { dtype, shape, data: bytesOf(values, dtype) }] as const;
  });
  return new SafetensorsFile(new Map([...tensors, ...added]), metadata).bytes();
}

function bytesOf(values: readonly number[], dtype: Dtype): Buffer {
  if (dtype === "F64") return Buffer.from(Float64Array.from(values).buffer);
  if (dtype === "F32") return Buffer.from(Float32Array.from(values).buffer);
  if (dtype === "I32") return Buffer.from(Int32Array.from(values).buffer);
  return Buffer.from(Uint16Array.from(values, dtype === "BF16" ? bfloat16 : float16).buffer);
}

/** Of values that are exact in the format. */
function bfloat16(value: number): number {
  return (new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0) >>> 16;
}

/** Of positive normal values that are exact in the format. */
function float16(value: number): number {
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) | ((value / 2 ** exponent - 1) * 1024);
}
