// Checks a description against the tensors of a checkpoint: each tensor it needs is there, with the right shape and a
// supported type, and its layers have no other tensors. Reads no numbers.

import { CheckpointError, UnsupportedModelError } from "../errors.js";
import {
  distinctTensors,
  productsAndNormsAround,
  productsAndNormsOf,
  tablesOf,
  tensorsOfLayer,
  weightsAroundLayers,
  weightsOfNorm,
} from "./block-facts.js";
import type { Linear, Norm } from "./blocks.js";
import type { Decoder, ModelEnd } from "./description.js";
import type { ModelConfig } from "./model-config.js";
import { codesInPlaceOf } from "./quantization/stored-form.js";
import {
  outputsAxis,
  shapeOf,
  storedTensors,
  type TensorSource,
  tensorSource,
  type WeightSource,
} from "./weight-source.js";

/** The checkpoint's tensors by name. */
export interface TensorShapes {
  keys(): Iterable<string>;
  get(name: string): { readonly shape: readonly number[]; readonly dtype: string; readonly file: string } | undefined;
}

/**
 * Tensors of a layer that are not weights: scales of the KV cache, and buffers in old checkpoints. Scales are
 * recognized by their names only.
 */
const NOT_WEIGHTS = /\.(rotary_emb\.inv_freq|(attn|attention)\.(masked_)?bias|kv_scale|[kvq]_scale)$/;
const WEIGHT_DTYPES = ["BF16", "F16", "F32"];

/** @throws UnsupportedModelError naming the method and a tensor */
export function refuseQuantizedWeights(config: ModelConfig, tensors: TensorShapes): void {
  for (const name of tensors.keys()) {
    const packed = /\.(qweight|weight_packed|weight_scale|weight_scale_inv|absmax|qzeros)$/.test(name);
    if (!packed) continue;
    const method = config.optionalObject("quantization_config")?.raw("quant_method");
    throw new UnsupportedModelError(
      `Quantized weights (${typeof method === "string" ? method : "unknown method"}, tensor "${name}") are not supported: calibrate the 16-bit checkpoint they were made from`,
    );
  }
}

/** Rows of an embedding are looked up as numbers. @throws UnsupportedModelError naming the tensor of codes */
function refuseCodes(table: string, tensors: TensorShapes): void {
  const codes = codesInPlaceOf(table, tensors);
  if (codes === undefined) return;
  throw new UnsupportedModelError(
    `${codes.file}: tensor "${codes.name}": the embedding is quantized (${codes.dtype}), and it is only read in 16 or 32 bits. Calibrate the 16-bit checkpoint that it was made from; --onto writes the scales beside these weights.`,
  );
}

/**
 * @param layersPrefix common prefix of the layers' tensors
 * @throws CheckpointError for missing tensors and wrong shapes, UnsupportedModelError for dtypes and for tensors that
 * are not in the description
 */
export function checkTensors(decoder: Decoder, tensors: TensorShapes, layersPrefix: string): void {
  for (const { name } of tablesOf(decoder)) refuseCodes(name, tensors);
  checkAll(tensors, tablesOf(decoder));
  checkAll(tensors, distinctTensors(weightsAroundLayers(decoder)).values());
  for (const { linears, norms } of [productsAndNormsAround(decoder), ...decoder.layers.map(productsAndNormsOf)]) {
    for (const linear of linears) checkLinear(linear);
    for (const norm of norms) checkNorm(norm);
  }
  const known = new Set<string>();
  for (const layer of decoder.layers) {
    const used = tensorsOfLayer(layer);
    checkAll(tensors, used.values());
    for (const name of [...used.keys(), ...(layer.unread ?? [])]) known.add(name);
  }
  const isOfNextTokens = (name: string) => {
    const index = Number.parseInt(name.slice(layersPrefix.length), 10) - decoder.layers.length;
    return index >= 0 && index < (decoder.nextTokenLayers ?? 0);
  };
  for (const name of tensors.keys()) {
    if (!name.startsWith(layersPrefix) || isOfNextTokens(name) || known.has(name) || NOT_WEIGHTS.test(name)) continue;
    throw new UnsupportedModelError(
      `Tensor "${name}" has no place in model_type "${decoder.modelType}" as config.json describes it, and it may change K or V`,
    );
  }
}

/** Memory is planned by what a product says of its sizes: they are those of its weight. @throws RangeError */
function checkLinear({ weight, bias, inputs, outputs }: Linear): void {
  const sizes = outputsAxis(weight) === 0 ? [outputs, inputs] : [inputs, outputs];
  requireShape(weight, sizes);
  if (bias !== undefined) requireShape(bias, [outputs]);
}

/** Weights of several heads have an axis before that of the norm. @throws RangeError */
function checkNorm(norm: Norm): void {
  for (const source of weightsOfNorm(norm)) requireShape(source, [...shapeOf(source).slice(0, -1), norm.size]);
}

function requireShape(source: WeightSource, sizes: readonly number[]): void {
  const shape = shapeOf(source);
  if (shape.join() === sizes.join()) return;
  throw new RangeError(`a description says [${sizes.join(", ")}] of a weight of shape [${shape.join(", ")}]`);
}

/** The same for the output head. */
export function checkEnd(end: ModelEnd, decoder: Decoder, tensors: TensorShapes): void {
  const { head } = end;
  if (head.kind === "tensor" && tensors.get(head.name) === undefined) {
    throw new UnsupportedModelError(
      `The checkpoint has no tensor "${head.name}": it was saved without the output head, so nothing can be verified. Give the full model.`,
    );
  }
  checkNorm(end.norm);
  checkAll(tensors, distinctTensors(weightsOfNorm(end.norm)).values());
  checkAll(tensors, storedTensors(head));
  if (end.bias !== undefined) checkTensor(tensors, tensorSource(end.bias, [decoder.vocabularySize]));
}

function checkAll(tensors: TensorShapes, expected: Iterable<TensorSource>): void {
  for (const tensor of expected) checkTensor(tensors, tensor);
}

function checkTensor(tensors: TensorShapes, { name, shape, dtypes = WEIGHT_DTYPES }: TensorSource): void {
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
  if (!dtypes.includes(found.dtype)) {
    throw new UnsupportedModelError(
      `${found.file}: tensor "${name}": dtype ${found.dtype} is not supported; supported: ${dtypes.join(", ")}`,
    );
  }
}
