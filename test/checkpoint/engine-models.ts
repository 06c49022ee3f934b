// What engines make of a checkpoint folder, as measured on the real ones (docs: which files are loaded, when scale tensors
// are refused, when a scale is silently 1.0). Written without anything of src/, so that a half-written folder can be judged.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readTensors, type TensorContent } from "../helpers/safetensors-files.js";

/** Scales of K and V by the name of the attention, or why the engine does not start. */
export type Reading =
  | { readonly refuses: string }
  | {
      readonly weights: Readonly<Record<string, string>>;
      readonly scales: Readonly<Record<string, readonly [k: number, v: number]>>;
      /** The dtype that config.json says the scales are for. */
      readonly dtype: string | undefined;
    };

interface Folder {
  readonly config: Record<string, unknown>;
  /** Tensors of each top-level safetensors file. */
  readonly files: ReadonlyMap<string, ReadonlyMap<string, TensorContent>>;
  readonly weightMap: Readonly<Record<string, string>> | undefined;
}

function openFolder(path: string): Folder {
  const names = readdirSync(path).filter((name) => name.endsWith(".safetensors"));
  const json = (name: string) => JSON.parse(readFileSync(join(path, name), "utf8"));
  const hasIndex = readdirSync(path).includes("model.safetensors.index.json");
  return {
    config: json("config.json"),
    files: new Map(names.map((name) => [name, readTensors(readFileSync(join(path, name)))])),
    weightMap: hasIndex ? json("model.safetensors.index.json").weight_map : undefined,
  };
}

/** Every top-level file is loaded, and no name may be there twice. k_scale with v_scale, else kv_scale. */
function tgi({ config, files }: Folder, weights: readonly string[]): Reading {
  const tensors = new Map<string, TensorContent>();
  for (const file of files.values()) {
    for (const [name, tensor] of file) {
      if (tensors.has(name)) return { refuses: `${name} is there twice` };
      tensors.set(name, tensor);
    }
  }
  return read(tensors, weights, config, (name) => {
    const k = tensors.get(`${name}.k_scale`) ?? tensors.get(`${name}.kv_scale`);
    const v = tensors.get(`${name}.v_scale`) ?? tensors.get(`${name}.kv_scale`);
    return k && v && [k, v];
  });
}

/** Files that the index names, or all without one. Scales need the block in config.json, and the block needs scales. */
function vllm({ config, files, weightMap }: Folder, weights: readonly string[]): Reading {
  const named = weightMap && new Set(Object.values(weightMap));
  const tensors = new Map<string, TensorContent>();
  for (const [file, content] of files) {
    if (named === undefined || named.has(file)) for (const [name, tensor] of content) tensors.set(name, tensor);
  }
  const scale = [...tensors.keys()].find((name) => /\.(kv|k|v)_scale$/.test(name));
  const hasBlock = config.quantization_config !== undefined;
  if (scale !== undefined && !hasBlock) return { refuses: `there is no parameter named ${scale}` };
  const one = { dtype: "F32", shape: [1], bytes: new Uint8Array(Float32Array.of(1).buffer) };
  return read(tensors, weights, config, (name) => {
    const shared = tensors.get(`${name}.kv_scale`);
    return hasBlock
      ? [shared ?? tensors.get(`${name}.k_scale`) ?? one, tensors.get(`${name}.v_scale`) ?? one]
      : undefined;
  });
}

/** model.safetensors alone where there is one, else what the index names; a file that is not there is an error. */
function transformers({ config, files, weightMap = {} }: Folder, weights: readonly string[]): Reading {
  const names = files.has("model.safetensors") ? ["model.safetensors"] : new Set(Object.values(weightMap));
  const tensors = new Map<string, TensorContent>();
  for (const name of names) {
    const content = files.get(name);
    if (content === undefined) return { refuses: `${name} is not there` };
    for (const [tensor, bytes] of content) tensors.set(tensor, bytes);
  }
  if (config.quantization_config === undefined) return read(tensors, weights, config, () => undefined);
  return read(tensors, weights, config, (name) => {
    const [k, v] = [tensors.get(`${name}.k_scale`), tensors.get(`${name}.v_scale`)];
    return k && v && [k, v];
  });
}

function read(
  tensors: ReadonlyMap<string, TensorContent>,
  weights: readonly string[],
  config: Record<string, unknown>,
  scalesOf: (attention: string) => readonly [k: TensorContent, v: TensorContent] | undefined,
): Reading {
  const bytes: Record<string, string> = {};
  const scales: Record<string, [k: number, v: number]> = {};
  for (const name of weights) {
    const tensor = tensors.get(name);
    if (tensor === undefined) return { refuses: `${name} is missing` };
    bytes[name] = Buffer.from(tensor.bytes).toString("hex");
    const attention = /^(.*\.self_attn)\.k_proj\.weight$/.exec(name)?.[1];
    const found = attention && scalesOf(attention);
    if (found) scales[attention] = [float(found[0]), float(found[1])];
  }
  return { weights: bytes, scales, dtype: config.kv_cache_torch_dtype as string | undefined };
}

function float({ bytes }: TensorContent): number {
  return Buffer.from(bytes).readFloatLE();
}

const ENGINES = { tgi, vllm, transformers };
export type EngineName = keyof typeof ENGINES;

/** What each engine reads, given the names of the model's weights. */
export function readByEngines(path: string, weights: readonly string[]): Record<EngineName, Reading> {
  const folder = openFolder(path);
  return {
    tgi: tgi(folder, weights),
    vllm: vllm(folder, weights),
    transformers: transformers(folder, weights),
  };
}
