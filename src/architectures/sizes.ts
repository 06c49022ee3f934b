// Sizes and activations from config.json, under Llama's keys. Pure data out; knows no layer.

import { CheckpointError, UnsupportedModelError } from "../errors.js";
import type { Activation } from "./blocks.js";
import type { ModelConfig } from "./model-config.js";

export interface Sizes {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Far more than any real model has: describing layers until memory is full would crash the process. */
const MAX_LAYERS = 10_000;

/** Of one layer; norms and experts are described one by one. Real models have 256 heads and 512 experts at most. */
export const MAX_PARTS = 16_384;

/** config.hidden_act → activation. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  relu: "relu",
  relu2: "relu2",
  quick_gelu: "gelu_quick",
};

/**
 * Sizes under Llama's keys.
 * @param defaults of transformers; without one, num_key_value_heads is the number of heads, head_dim is hidden_size /
 * heads, and other keys must be present
 * @throws CheckpointError naming the key
 */
export function readSizes(config: ModelConfig, defaults: Partial<Sizes> = {}): Sizes {
  const layers = readLayers(config, "num_hidden_layers", defaults.layers);
  const hidden = config.positiveInteger("hidden_size", defaults.hidden);
  const heads = readParts(config, "num_attention_heads", defaults.heads);
  // null means the number of heads, and hidden_size / heads; absent means the family's default, if it has one.
  const defaultKvHeads = config.mentions("num_key_value_heads") ? heads : (defaults.kvHeads ?? heads);
  const kvHeads = config.positiveInteger("num_key_value_heads", defaultKvHeads);
  if (heads % kvHeads !== 0) {
    throw new CheckpointError(
      `${config.nameOf("num_key_value_heads")}: ${kvHeads} does not divide num_attention_heads (${heads})`,
    );
  }
  const defaultHeadDim = config.mentions("head_dim") ? undefined : defaults.headDim;
  const headDim = config.positiveInteger("head_dim", defaultHeadDim ?? Math.floor(hidden / heads));
  if (headDim % 2 !== 0) {
    throw new CheckpointError(`${config.nameOf("head_dim")}: expected an even number for RoPE, found ${headDim}`);
  }
  return { hidden, layers, heads, kvHeads, headDim };
}

const GPT_KEYS = { layers: "n_layer", hidden: "n_embd", heads: "n_head" };

/**
 * Sizes under GPT-2's keys, or similar ones.
 * @param kvHeads absent: the number of heads
 * @throws CheckpointError naming the key
 */
export function readGptSizes(config: ModelConfig, keys = GPT_KEYS, kvHeads?: number): Sizes {
  const layers = readLayers(config, keys.layers);
  const hidden = config.positiveInteger(keys.hidden);
  const heads = readParts(config, keys.heads);
  if (hidden % heads !== 0) {
    throw new CheckpointError(`${config.nameOf(keys.heads)}: ${heads} does not divide ${keys.hidden} (${hidden})`);
  }
  if (kvHeads !== undefined && heads % kvHeads !== 0) {
    throw new CheckpointError(`${config.nameOf(keys.heads)}: ${heads} heads cannot share ${kvHeads} heads of K and V`);
  }
  return { hidden, layers, heads, kvHeads: kvHeads ?? heads, headDim: hidden / heads };
}

function readLayers(config: ModelConfig, key: string, fallback?: number): number {
  const layers = config.positiveInteger(key, fallback);
  if (layers <= MAX_LAYERS) return layers;
  throw new CheckpointError(`${config.nameOf(key)}: expected a number of layers up to ${MAX_LAYERS}, found ${layers}`);
}

/** A number of heads, experts or the like. @throws CheckpointError naming the key when it is more than can be */
export function readParts(config: ModelConfig, key: string, fallback?: number): number {
  const count = config.positiveInteger(key, fallback);
  if (count <= MAX_PARTS) return count;
  throw new CheckpointError(`${config.nameOf(key)}: expected a number up to ${MAX_PARTS}, found ${count}`);
}

/** @throws UnsupportedModelError for an activation that is not known */
export function readActivation(config: ModelConfig, key = "hidden_act", fallback = "silu"): Activation {
  const name = config.string(key, fallback);
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation !== undefined) return activation;
  throw new UnsupportedModelError(
    `${config.nameOf(key)}: "${name}" is not supported; supported: ${Object.keys(ACTIVATIONS).join(", ")}`,
  );
}
