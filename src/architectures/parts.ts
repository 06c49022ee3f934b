// What families are composed of: sizes as config.json gives them, attention and feed-forward as Llama has them, the order of
// norms around them. A family passes what differs. Pure data out; reads no files.

import { CheckpointError, UnsupportedModelError } from "../errors.js";
import type { Activation, Attention, Block, FeedForward, Linear, Norm, RmsNorm, RopeUse } from "./blocks.js";
import type { Branch, Decoder, DecoderLayer, ModelEnd, Residual } from "./description.js";
import type { ModelConfig } from "./model-config.js";
import { type Rope, readRope } from "./rope.js";
import type { LayerNames, TensorNames } from "./tensor-names.js";
import { tensorSource } from "./weight-source.js";

/** What a family makes its description of. */
export interface FamilyInput {
  readonly config: ModelConfig;
  readonly names: TensorNames;
}

export interface Sizes {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Far beyond any real model; describing more layers than memory holds would end the process, not the run. */
const MAX_LAYERS = 10_000;

/** config.hidden_act → activation. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
  relu: "relu",
  relu2: "relu2",
  quick_gelu: "gelu_quick",
};

/**
 * Sizes under Llama's keys.
 * @param defaults what transformers takes when a key is absent: num_key_value_heads (else as many as heads), head_dim
 * @throws CheckpointError naming the key
 */
export function readSizes(config: ModelConfig, defaults: { kvHeads?: number; headDim?: number } = {}): Sizes {
  const layers = config.positiveInteger("num_hidden_layers");
  if (layers > MAX_LAYERS) {
    throw new CheckpointError(
      `${config.nameOf("num_hidden_layers")}: expected a number of layers up to ${MAX_LAYERS}, found ${layers}`,
    );
  }
  const hidden = config.positiveInteger("hidden_size");
  const heads = config.positiveInteger("num_attention_heads");
  // null means as many as heads; absent means the family's default, where it has one.
  const defaultKvHeads = config.mentions("num_key_value_heads") ? heads : (defaults.kvHeads ?? heads);
  const kvHeads = config.positiveInteger("num_key_value_heads", defaultKvHeads);
  if (heads % kvHeads !== 0) {
    throw new CheckpointError(
      `${config.nameOf("num_key_value_heads")}: ${kvHeads} does not divide num_attention_heads (${heads})`,
    );
  }
  const headDim = config.positiveInteger("head_dim", defaults.headDim ?? Math.floor(hidden / heads));
  if (headDim % 2 !== 0) {
    throw new CheckpointError(`${config.nameOf("head_dim")}: expected an even number for RoPE, found ${headDim}`);
  }
  return { hidden, layers, heads, kvHeads, headDim };
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

/** An RMS norm whose ε is `rms_norm_eps`. @param name of its tensor, without `.weight` */
export function rmsNormOf(config: ModelConfig, key = "rms_norm_eps"): (name: string, size: number) => RmsNorm {
  const epsilon = config.positiveNumber(key, 1e-6);
  return (name, size) => ({ kind: "rms", weight: tensorSource(`${name}.weight`, [size]), size, epsilon });
}

/** A weight of its own, and a bias where there is one. @param name without `.weight` */
export function linear(name: string, inputs: number, outputs: number, bias = false): Linear {
  return {
    weight: tensorSource(`${name}.weight`, [outputs, inputs]),
    inputs,
    outputs,
    ...(bias && { bias: tensorSource(`${name}.bias`, [outputs]) }),
  };
}

/** All of a head rotated, halves paired, by the decoder's first rotation. */
export function rotateAll({ dimensions }: Rope): RopeUse {
  return { rope: 0, dimensions, pairing: "halves" };
}

/** Grouped-query attention with Llama's names. @param differences what the family has otherwise or beside that */
export function groupedQuery(
  names: LayerNames,
  { hidden, heads, kvHeads, headDim }: Sizes,
  bias: { readonly qkv?: boolean; readonly output?: boolean } = {},
  differences: Partial<Omit<Attention, "kind">> & { readonly window?: number | undefined } = {},
): Attention {
  const { window, ...others } = differences;
  return {
    kind: "attention",
    name: names.attention,
    ...{ heads, kvHeads, headDim },
    query: linear(names.inAttention("query"), hidden, heads * headDim, bias.qkv),
    key: linear(names.inAttention("key"), hidden, kvHeads * headDim, bias.qkv),
    value: linear(names.inAttention("value"), hidden, kvHeads * headDim, bias.qkv),
    output: linear(names.inAttention("output"), heads * headDim, hidden, bias.output),
    ...(window !== undefined && { slidingWindow: window }),
    ...others,
  };
}

/** RMS norms of each head of q and k before rotation, named q_norm and k_norm. */
export function headNorms(
  names: LayerNames,
  { headDim }: Sizes,
  norm: (name: string, size: number) => Norm,
): Pick<Attention, "queryNorm" | "keyNorm"> {
  const ofHeads = (part: "queryNorm" | "keyNorm") =>
    ({ norm: norm(names.inAttention(part), headDim), over: "head", when: "before-rotation" }) as const;
  return { queryNorm: ofHeads("queryNorm"), keyNorm: ofHeads("keyNorm") };
}

/** down(activation(gate(x)) · up(x)) with Llama's names. */
export function gated(
  names: LayerNames,
  hidden: number,
  { intermediate, activation, bias = false }: { intermediate: number; activation: Activation; bias?: boolean },
): FeedForward {
  return {
    kind: "feed-forward",
    activation,
    gate: linear(names.inFeedForward("gate"), hidden, intermediate, bias),
    up: linear(names.inFeedForward("up"), hidden, intermediate, bias),
    down: linear(names.inFeedForward("down"), intermediate, hidden, bias),
  };
}

/** down(activation(up(x))) with the names of a table that has them. */
export function plain(
  names: LayerNames,
  hidden: number,
  { intermediate, activation, bias = false }: { intermediate: number; activation: Activation; bias?: boolean },
): FeedForward {
  return {
    kind: "feed-forward",
    activation,
    up: linear(names.inFeedForward("up"), hidden, intermediate, bias),
    down: linear(names.inFeedForward("down"), intermediate, hidden, bias),
  };
}

/** x + multiplier · block(norm(x)) */
export function preNorm(norm: Norm, block: Block, multiplier?: number): Residual {
  return residual([{ norm, block }], multiplier);
}

/** x + multiplier · norm(block(x)) */
export function postNorm(block: Block, norm: Norm, multiplier?: number): Residual {
  return residual([{ block, postNorm: norm }], multiplier);
}

/** x + postNorm(block(norm(x))) */
export function sandwich(norm: Norm, block: Block, after: Norm): Residual {
  return residual([{ norm, block, postNorm: after }]);
}

/** Branches that read the same x. */
export function residual(branches: readonly [Branch, ...Branch[]], multiplier?: number): Residual {
  return { branches, ...(multiplier !== undefined && multiplier !== 1 && { multiplier }) };
}

/** No layer has a window: `layer_types`, where it is written down, says so, too. */
export function noWindows(config: ModelConfig): void {
  const other = config.optionalStrings("layer_types")?.find((type) => type !== "full_attention");
  if (other === undefined) return;
  throw new UnsupportedModelError(
    `${config.nameOf("layer_types")}: "${other}" is not understood for model_type "${config.string("model_type")}"`,
  );
}

/** One window for every layer; null is none. @param fallback what transformers takes when the key is absent, not null */
export function uniformWindow(config: ModelConfig, fallback?: number): number | undefined {
  return config.mentions("sliding_window") || fallback === undefined
    ? config.optionalPositiveInteger("sliding_window")
    : config.positiveInteger("sliding_window", fallback);
}

/**
 * `layer_types`, one per layer.
 * @param known what the family understands
 * @returns undefined when the key is absent
 */
export function layerTypes<Type extends string>(
  config: ModelConfig,
  layers: number,
  known: readonly Type[],
): readonly Type[] | undefined {
  const types = config.optionalStrings("layer_types");
  if (types === undefined) return undefined;
  if (types.length !== layers) {
    throw new CheckpointError(
      `${config.nameOf("layer_types")}: expected ${layers} entries, one per layer, found ${types.length}`,
    );
  }
  return types.map((type) => {
    const found = known.find((name) => name === type);
    if (found !== undefined) return found;
    throw new UnsupportedModelError(
      `${config.nameOf("layer_types")}: "${type}" is not understood for model_type "${config.string("model_type")}"; understood: ${known.join(", ")}`,
    );
  });
}

/** What a whole description is made of, beside sizes. */
export interface DecoderParts {
  readonly sizes: Sizes;
  readonly ropes: readonly Rope[];
  readonly layer: (names: LayerNames, index: number) => readonly Residual[];
  readonly embedding?: Omit<Decoder["embedding"], "weight">;
  readonly finalNorm: Norm;
  readonly logits?: Pick<ModelEnd, "bias" | "multiplier" | "softcap">;
  /** What transformers takes when `tie_word_embeddings` is absent. */
  readonly tied?: boolean;
}

/** Puts a description together. */
export function decoderOf({ config, names }: FamilyInput, parts: DecoderParts): Decoder {
  const layers = Array.from({ length: parts.sizes.layers }, (_, index): DecoderLayer => {
    return { index, residuals: parts.layer(names.layer(index), index) };
  });
  const embedding = `${names.embedding}.weight`;
  const isTied = config.boolean("tie_word_embeddings", parts.tied ?? false);
  return {
    modelType: config.string("model_type"),
    hiddenSize: parts.sizes.hidden,
    vocabularySize: config.positiveInteger("vocab_size"),
    embedding: { weight: embedding, ...parts.embedding },
    ropes: parts.ropes,
    layers,
    end: { norm: parts.finalNorm, head: isTied ? embedding : `${names.head}.weight`, ...parts.logits },
  };
}

/** What Llama's layers are made of: what a family of its kind differs in is a short list. */
export interface LlamaLike {
  readonly sizes: Sizes;
  readonly attentionBias?: { readonly qkv?: boolean; readonly output?: boolean };
  readonly feedForwardBias?: boolean;
  readonly queryKeyNorms?: boolean;
  /** By layer; absent: none. */
  readonly windows?: readonly (number | undefined)[];
}

/** RMS norm, grouped-query attention, RMS norm, gated feed-forward. */
export function llamaLike(input: FamilyInput, family: LlamaLike): Decoder {
  const { config, names } = input;
  const { sizes, attentionBias, feedForwardBias, queryKeyNorms, windows } = family;
  const { hidden } = sizes;
  const norm = rmsNormOf(config);
  const rope = readRope(config, sizes.headDim);
  const intermediate = config.positiveInteger("intermediate_size");
  const activation = readActivation(config);
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer, index) => [
      preNorm(
        norm(layer.attentionNorm, hidden),
        groupedQuery(layer, sizes, attentionBias, {
          rope: rotateAll(rope),
          window: windows?.[index],
          ...(queryKeyNorms && headNorms(layer, sizes, norm)),
        }),
      ),
      preNorm(
        norm(layer.feedForwardNorm, hidden),
        gated(layer, hidden, { intermediate, activation, bias: feedForwardBias ?? false }),
      ),
    ],
    finalNorm: norm(names.finalNorm, hidden),
  });
}
