// Every supported architecture by the `model_type` of config.json, and the way from a checkpoint to its description.
// Refuses what it does not know; never guesses.

import { CheckpointError, UnsupportedModelError } from "../errors.js";
import { type Decoder, type ModelEnd, tensorsOfLayer } from "./description.js";
import {
  describeEnd,
  describeLlamaFamily,
  type LlamaFamily,
  noSlidingWindow,
  slidingWindowOfUpperLayers,
  uniformSlidingWindow,
} from "./llama-family.js";
import { ModelConfig } from "./model-config.js";

const NO_BIAS = { qkv: false, output: false } as const;
const BIAS_FROM_CONFIG = { qkv: "config", output: "config" } as const;

export const ARCHITECTURES: Readonly<Record<string, LlamaFamily>> = {
  llama: { attentionBias: BIAS_FROM_CONFIG, mlpBias: "config", queryKeyNorm: false, slidingWindow: noSlidingWindow },
  mistral: {
    attentionBias: NO_BIAS,
    mlpBias: false,
    queryKeyNorm: false,
    defaultKvHeads: 8,
    slidingWindow: uniformSlidingWindow,
  },
  qwen2: {
    attentionBias: { qkv: true, output: false },
    mlpBias: false,
    queryKeyNorm: false,
    defaultKvHeads: 32,
    slidingWindow: slidingWindowOfUpperLayers,
  },
  qwen3: {
    attentionBias: BIAS_FROM_CONFIG,
    mlpBias: false,
    queryKeyNorm: true,
    defaultHeadDim: 128,
    defaultKvHeads: 32,
    slidingWindow: slidingWindowOfUpperLayers,
  },
};

/** What the description is checked against: the names and shapes of the checkpoint's tensors. */
export interface TensorShapes {
  keys(): Iterable<string>;
  get(name: string): { readonly shape: readonly number[]; readonly dtype: string; readonly file: string } | undefined;
}

/** Tensors of a layer that are not weights: scales of the KV cache, and a buffer that old checkpoints saved. */
const NOT_WEIGHTS = /\.(self_attn\.(rotary_emb\.inv_freq|kv_scale|k_scale|v_scale)|self_attn\.[kv]_proj\.[kv]_scale)$/;
const WEIGHT_DTYPES = ["BF16", "F16", "F32"];

/**
 * Describes the decoder of a checkpoint and checks that every tensor it needs is there, in the right shape, and that no
 * layer has a tensor that the description does not use.
 * @throws UnsupportedModelError for an architecture, a setting or a dtype that is not supported
 * @throws CheckpointError for missing tensors and wrong shapes
 */
export function describeModel(configJson: Readonly<Record<string, unknown>>, tensors: TensorShapes): Decoder {
  const config = new ModelConfig(configJson);
  const modelType = config.string("model_type");
  if (!Object.hasOwn(ARCHITECTURES, modelType)) {
    const known = Object.keys(ARCHITECTURES).join(", ");
    throw new UnsupportedModelError(`config.json: model_type "${modelType}" is not supported; supported: ${known}`);
  }
  const family = ARCHITECTURES[modelType] as LlamaFamily;
  refuseQuantizedWeights(config, tensors);
  const decoder = describeLlamaFamily(family, config, findPrefix(tensors));
  checkTensors(decoder, tensors);
  return decoder;
}

/**
 * Describes what turns the last hidden states into logits: what calibration does without.
 * @throws UnsupportedModelError when the checkpoint has none, or scales the logits in a way that is not understood;
 * CheckpointError when its tensors do not fit
 */
export function describeModelEnd(
  configJson: Readonly<Record<string, unknown>>,
  tensors: TensorShapes,
  decoder: Decoder,
): ModelEnd {
  const end = describeEnd(new ModelConfig(configJson), decoder);
  if (tensors.get(end.head) === undefined) {
    throw new UnsupportedModelError(
      `The checkpoint has no tensor "${end.head}": it was saved without the head that predicts tokens, so nothing can be verified. Give the full model.`,
    );
  }
  checkTensor(tensors, end.norm.weight, [end.norm.size]);
  checkTensor(tensors, end.head, [decoder.vocabularySize, decoder.hiddenSize]);
  return end;
}

/** `model.` in most checkpoints, nothing in those saved from a base model. */
function findPrefix(tensors: TensorShapes): string {
  const ending = "layers.0.self_attn.k_proj.weight";
  for (const name of tensors.keys()) {
    if (name.endsWith(ending)) return name.slice(0, -ending.length);
  }
  throw new CheckpointError(
    `No tensor is named "…${ending}": the checkpoint lacks its first layer, or names it otherwise`,
  );
}

function refuseQuantizedWeights(config: ModelConfig, tensors: TensorShapes): void {
  for (const name of tensors.keys()) {
    const packed = /\.(qweight|weight_packed|weight_scale|weight_scale_inv|absmax|qzeros)$/.test(name);
    if (!packed) continue;
    const method = config.optionalObject("quantization_config")?.raw("quant_method");
    throw new UnsupportedModelError(
      `Quantized weights (${String(method ?? "unknown method")}, tensor "${name}") are not supported: calibrate the 16-bit checkpoint they were made from`,
    );
  }
}

function checkTensors(decoder: Decoder, tensors: TensorShapes): void {
  checkTensor(tensors, decoder.embedding, [decoder.vocabularySize, decoder.hiddenSize]);
  const known = new Set<string>();
  for (const layer of decoder.layers) {
    for (const [name, shape] of tensorsOfLayer(layer)) {
      checkTensor(tensors, name, shape);
      known.add(name);
    }
  }
  const layersPrefix = decoder.embedding.replace("embed_tokens.weight", "layers.");
  for (const name of tensors.keys()) {
    if (!name.startsWith(layersPrefix) || known.has(name) || NOT_WEIGHTS.test(name)) continue;
    throw new UnsupportedModelError(
      `Tensor "${name}" has no place in model_type "${decoder.modelType}" as config.json describes it, and it may change K or V`,
    );
  }
}

function checkTensor(tensors: TensorShapes, name: string, shape: readonly number[]): void {
  const found = tensors.get(name);
  if (found === undefined) {
    throw new CheckpointError(
      `Tensor "${name}" is missing: config.json calls for it, and no file of the checkpoint has it`,
    );
  }
  if (found.shape.length !== shape.length || found.shape.some((size, axis) => size !== shape[axis])) {
    throw new CheckpointError(
      `${found.file}: tensor "${name}": expected shape [${shape.join(", ")}] by config.json, found [${found.shape.join(", ")}]`,
    );
  }
  if (!WEIGHT_DTYPES.includes(found.dtype)) {
    throw new UnsupportedModelError(
      `${found.file}: tensor "${name}": dtype ${found.dtype} is not supported; supported: ${WEIGHT_DTYPES.join(", ")}`,
    );
  }
}
