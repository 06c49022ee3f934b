// Facts about a checkpoint's KV cache, from headers, index, config.json and scales, for the rules that judge it. Judges
// nothing.

import { CheckpointError } from "../errors.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import { attentionNames, attentionsByConfig, decoderConfig, layerCount, layerOf } from "./attention-names.js";
import { type ForeignName, findForeignName } from "./foreign-names.js";
import { showJson } from "./json-text.js";
import { modelOptQuantization } from "./model-opt-file.js";
import { type Quantization, quantizationOf } from "./quantization-block.js";
import { readScales, type ScaleTensor } from "./read-scales.js";
import type { Float32Tensor } from "./safetensors-writer.js";
import { isScaleName, parseScaleName } from "./scale-names.js";
import type { Survey } from "./survey-checkpoint.js";

export interface ScaleFacts {
  /** Name of the attention of each decoder layer that has one, by layer. */
  readonly attentions: ReadonlyMap<number, string>;
  /** Scales of every top-level safetensors file, whether or not an engine loads it. */
  readonly scales: readonly ScaleTensor[];
  /** Names of those files. */
  readonly files: readonly string[];
  /** Files that the index names, present or missing; undefined without an index. */
  readonly namedFiles: ReadonlySet<string> | undefined;
  /** Scales that the index places in a file without them: index entry to file. */
  readonly misplaced: ReadonlyMap<string, string>;
  /** A tensor in two files, and these files. */
  readonly duplicate: { readonly name: string; readonly files: readonly [string, string] } | undefined;
  readonly kvHeads: number | undefined;
  readonly modelType: string | undefined;
  /** The model's own type by config.json, such as `bfloat16`. */
  readonly dtype: string | undefined;
  /** Whether its caches hold latent vectors (MLA) instead of K and V. */
  readonly hasLatentCache: boolean;
  /** A tensor with a part in its name that no engine knows. */
  readonly foreignName: ForeignName | undefined;
  readonly quantization: Quantization | undefined;
  /** The quantization of ModelOpt's hf_quant_config.json, if there is one. */
  readonly modelOpt: Readonly<Record<string, unknown>> | undefined;
  /** `kv_cache_torch_dtype` of config.json, unchecked. */
  readonly kvCacheDtype: unknown;
}

/** The projection of a latent vector, which MLA's caches hold. */
const LATENT = /\.(kv_a_proj_with_mqa|kv_b_proj|fused_qkv_a_proj_with_mqa)\.[\w.]+$/;

/** Far beyond any real model. */
const MAX_LAYERS = 10_000;

/** @throws CheckpointError when the scales cannot be read, or there are more layers than any model has */
export async function gatherScaleFacts(survey: Survey): Promise<ScaleFacts> {
  const { files, weightMap, config } = survey;
  const names = files.flatMap(({ header }) => header.tensors.map(({ name }) => name));
  const model = modelFacts(names, config, survey.modelOpt);
  if (model.attentions.size > MAX_LAYERS) {
    throw new CheckpointError(
      `${survey.folder}: expected at most ${MAX_LAYERS} layers with attention, found ${model.attentions.size}: no model is so deep`,
    );
  }
  return {
    ...model,
    scales: (await readScales(files)).filter(isOfDecoder(names, config)),
    files: files.map(({ name }) => name),
    namedFiles: weightMap && new Set(weightMap.values()),
    misplaced: misplacedScales(survey),
    duplicate: findDuplicate(survey),
  };
}

type ModelFacts = Omit<ScaleFacts, "scales" | "files" | "namedFiles" | "misplaced" | "duplicate">;

function modelFacts(
  names: readonly string[],
  config: Readonly<Record<string, unknown>>,
  modelOptFile: Survey["modelOpt"],
): ModelFacts {
  const kvHeads = decoderConfig(config).num_key_value_heads;
  const modelOpt = modelOptQuantization(modelOptFile);
  return {
    attentions: attentionsByConfig(names, config),
    kvHeads: typeof kvHeads === "number" ? kvHeads : undefined,
    modelType: typeof config.model_type === "string" ? config.model_type : undefined,
    dtype: dtypeOf(config) ?? dtypeOf(decoderConfig(config)),
    hasLatentCache: names.some((name) => LATENT.test(name)),
    foreignName: findForeignName(names),
    quantization: quantizationOf(config, modelOpt),
    modelOpt,
    kvCacheDtype: config.kv_cache_torch_dtype ?? undefined,
  };
}

function dtypeOf(config: Readonly<Record<string, unknown>>): string | undefined {
  const dtype = config.dtype ?? config.torch_dtype;
  return typeof dtype === "string" ? dtype : undefined;
}

/** A file that the result will have. */
const RESULT_FILE = "model-kv-scales.safetensors";

/** The facts of a result that is to be written: weights of these names, and scales in a file that the index names. */
export function factsOfResult({
  tensorNames,
  config,
  modelOpt,
  scales: tensors,
}: {
  readonly tensorNames: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly modelOpt: Survey["modelOpt"];
  readonly scales: readonly Float32Tensor[];
}): ScaleFacts {
  const scales = tensors.flatMap(({ name, shape, values }): ScaleTensor[] => {
    const parsed = parseScaleName(name);
    return parsed === undefined
      ? []
      : [{ ...parsed, name, file: RESULT_FILE, dtype: "F32", shape, values: [...values] }];
  });
  return {
    ...modelFacts(tensorNames, config, modelOpt),
    scales: scales.filter(isOfDecoder(tensorNames, config)),
    files: [RESULT_FILE],
    namedFiles: new Set([RESULT_FILE]),
    misplaced: new Map(),
    duplicate: undefined,
  };
}

/** Layers after the last one predict further tokens: engines ignore their tensors in the decoder. */
function isOfDecoder(
  tensorNames: readonly string[],
  config: Readonly<Record<string, unknown>>,
): (scale: ScaleTensor) => boolean {
  const count = layerCount(config);
  const attentions = [...attentionNames(tensorNames, config).values()];
  const behind = new Set(attentions.filter((name) => (layerOf(name) ?? 0) >= count));
  return ({ attention }) => !behind.has(attention);
}

/**
 * The FP8 dtype of the scales: that of config.json, else E4M3FN, which engines assume.
 * @throws CheckpointError for another dtype, and when a quantization_config contradicts it
 */
export function scaleDtype(config: Readonly<Record<string, unknown>>): Float8Name {
  const dtype = config.kv_cache_torch_dtype ?? "float8_e4m3fn";
  if (!isFloat8Name(dtype)) {
    const known = Object.keys(FLOAT8_FORMATS).join(" or ");
    throw new CheckpointError(
      `config.json: kv_cache_torch_dtype: expected ${known}, found ${showJson(dtype)}. Correct it to the dtype that the scales were made for.`,
    );
  }
  if (dtype !== "float8_e4m3fn" && quantizationOf(config) !== undefined) {
    throw new CheckpointError(
      `config.json: kv_cache_torch_dtype is ${dtype}, but its quantization_config goes with float8_e4m3fn. Remove the one that is wrong.`,
    );
  }
  return dtype;
}

function isFloat8Name(value: unknown): value is Float8Name {
  return typeof value === "string" && Object.hasOwn(FLOAT8_FORMATS, value);
}

function misplacedScales({ files, weightMap = new Map() }: Survey): Map<string, string> {
  const tensorsOf = new Map(files.map(({ name, header }) => [name, new Set(header.tensors.map((t) => t.name))]));
  return new Map(
    [...weightMap].filter(([tensor, file]) => isScaleName(tensor) && tensorsOf.get(file)?.has(tensor) !== true),
  );
}

function findDuplicate({ files }: Survey): ScaleFacts["duplicate"] {
  const fileOf = new Map<string, string>();
  for (const { name: file, header } of files) {
    for (const { name } of header.tensors) {
      const other = fileOf.get(name);
      if (other !== undefined) return { name, files: [other, file] };
      fileOf.set(name, file);
    }
  }
  return undefined;
}
