// Parts of families: Llama's attention and feed-forward, the order of norms around them, and the whole decoder. A
// family passes its differences. Pure data out; reads no files.

import { CheckpointError } from "../errors.js";
import type {
  Activation,
  Attention,
  Block,
  FeedForward,
  HeadNorm,
  LayerNorm,
  Linear,
  Norm,
  RmsNorm,
  RopeUse,
} from "./blocks.js";
import type {
  AltUp,
  Branch,
  Decoder,
  DecoderLayer,
  ModelEnd,
  PerLayerInputs,
  Residual,
  Streams,
} from "./description.js";
import type { ModelConfig } from "./model-config.js";
import type { Rope } from "./rope.js";
import type { Sizes } from "./sizes.js";
import type { LayerNames, TensorNames } from "./tensor-names.js";
import { tensorSource, type WeightSource } from "./weight-source.js";

/** The input of a family's description. */
export interface FamilyInput {
  readonly config: ModelConfig;
  readonly names: TensorNames;
  /** The shape of a tensor of the checkpoint, for families with two layouts of one name; absent without a checkpoint. */
  readonly shapeOf?: (tensor: string) => readonly number[] | undefined;
}

/**
 * An RMS norm. @param name of its tensor, without `.weight`
 * @param key of ε in config.json
 * @param fallback transformers' default
 */
export function rmsNormOf(
  config: ModelConfig,
  key = "rms_norm_eps",
  fallback = 1e-6,
): (name: string, size: number) => RmsNorm {
  const epsilon = config.positiveNumber(key, fallback);
  return (name, size) => ({ kind: "rms", weight: tensorSource(`${name}.weight`, [size]), size, epsilon });
}

/**
 * A layer norm.
 * @param key of ε in config.json
 * @param parts the tensors it has; default: weight and bias
 */
export function layerNormOf(
  config: ModelConfig,
  key: string,
  { weight = true, bias = true }: { readonly weight?: boolean; readonly bias?: boolean } = {},
): (name: string, size: number) => LayerNorm {
  const epsilon = config.positiveNumber(key, 1e-5);
  return (name, size) => ({
    ...{ kind: "layer", size, epsilon },
    ...(weight && { weight: tensorSource(`${name}.weight`, [size]) }),
    ...(bias && { bias: tensorSource(`${name}.bias`, [size]) }),
  });
}

/** A linear layer with its own weight, and perhaps a bias. @param name without `.weight` */
export function linear(name: string, inputs: number, outputs: number, bias = false): Linear {
  return {
    weight: tensorSource(`${name}.weight`, [outputs, inputs]),
    inputs,
    outputs,
    ...(bias && { bias: tensorSource(`${name}.bias`, [outputs]) }),
  };
}

/**
 * Several projections stored one after the other in one tensor.
 * @param name of the tensor, without `.weight`
 * @param outputs of each projection
 */
export function rowsOfFused<const Outputs extends readonly number[]>(
  name: string,
  inputs: number,
  outputs: Outputs,
  bias?: boolean,
): { readonly [Index in keyof Outputs]: Linear };
export function rowsOfFused(name: string, inputs: number, outputs: readonly number[], bias = false): readonly Linear[] {
  const all = outputs.reduce((sum, count) => sum + count, 0);
  return groupsOfFused(linear(name, inputs, all, bias), 1, outputs);
}

/**
 * Several projections in one tensor with a group of outputs for each KV head; each group has all projections.
 * @param outputs of each projection within a group
 */
export function groupsOfFused<const Outputs extends readonly number[]>(
  fused: Linear,
  groups: number,
  outputs: Outputs,
): { readonly [Index in keyof Outputs]: Linear };
export function groupsOfFused({ weight, bias, inputs }: Linear, groups: number, outputs: readonly number[]): Linear[] {
  let end = 0;
  return outputs.map((count) => {
    const start = end;
    end += count;
    const range = { start, end: start + count };
    // One group is a byte range of the file.
    const part = (of: WeightSource): WeightSource =>
      groups === 1 ? { kind: "rows", of, ...range } : { kind: "interleaved", of, groups, ...range };
    return { weight: part(weight), inputs, outputs: groups * count, ...(bias && { bias: part(bias) }) };
  });
}

/** A linear layer whose weight is stored inputs first, as in GPT-2, with a bias. @param name without `.weight` */
export function turnedLinear(name: string, inputs: number, outputs: number): Linear {
  const weight = tensorSource(`${name}.weight`, [inputs, outputs]);
  return { ...linear(name, inputs, outputs, true), weight: { ...weight, stored: "inputs-first" } };
}

/** The decoder's first rotation, over all its dimensions, pairing the halves of a head. */
export function rotateAll({ dimensions }: Rope): RopeUse {
  return { rope: 0, dimensions, pairing: "halves" };
}

/** Grouped-query attention with Llama's names. @param differences of the family */
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

/** Norms over each head of q and k, named q_norm and k_norm. */
export function headNorms(
  names: LayerNames,
  { headDim }: Sizes,
  norm: (name: string, size: number) => Norm,
  when: HeadNorm["when"] = "before-rotation",
): Pick<Attention, "queryNorm" | "keyNorm"> {
  const ofHeads = (part: "queryNorm" | "keyNorm") =>
    ({ norm: norm(names.inAttention(part), headDim), over: "head", when }) as const;
  return { queryNorm: ofHeads("queryNorm"), keyNorm: ofHeads("keyNorm") };
}

/** Norms over the whole projections of q and k before rotation, named q_norm and k_norm. */
export function projectionNorms(
  names: LayerNames,
  { heads, kvHeads, headDim }: Sizes,
  norm: (name: string, size: number) => Norm,
): Pick<Attention, "queryNorm" | "keyNorm"> {
  const over = (part: "queryNorm" | "keyNorm", size: number) =>
    ({ norm: norm(names.inAttention(part), size), over: "projection", when: "before-rotation" }) as const;
  return { queryNorm: over("queryNorm", heads * headDim), keyNorm: over("keyNorm", kvHeads * headDim) };
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

/** down(activation(up(x))) with the names of the family's table. */
export function plain(
  names: LayerNames,
  hidden: number,
  {
    intermediate,
    activation,
    bias = false,
  }: { intermediate: number; activation: FeedForward["activation"]; bias?: boolean },
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

/** x + postNorm(block(norm(x))) @public for families */
export function sandwich(norm: Norm, block: Block, after: Norm): Residual {
  return residual([{ norm, block, postNorm: after }]);
}

/** Parallel attention and feed-forward after one norm. */
export function sideBySide(norm: Norm, [attention, feedForward]: readonly [Block, Block]): Residual {
  return residual([
    { norm, block: attention },
    { norm, block: feedForward },
  ]);
}

/** Parallel branches, which read the same x. */
export function residual(branches: readonly [Branch, ...Branch[]], multiplier?: number): Residual {
  return { branches, ...(multiplier !== undefined && multiplier !== 1 && { multiplier }) };
}

/** The parts of a description, beside sizes. */
export interface DecoderParts {
  readonly sizes: Sizes;
  readonly ropes: readonly Rope[];
  readonly layer: (names: LayerNames, index: number) => readonly Residual[];
  readonly unread?: (names: LayerNames, index: number) => readonly string[];
  readonly perLayerInputs?: PerLayerInputs;
  readonly streams?: Streams;
  readonly altUp?: (names: LayerNames, index: number) => AltUp;
  readonly embedding?: Omit<Decoder["embedding"], "weight">;
  readonly finalNorm: Norm;
  readonly logits?: Pick<ModelEnd, "bias" | "multiplier" | "softcap">;
  /** transformers' default for `tie_word_embeddings`. */
  readonly tied?: boolean;
  /** The key in its place. */
  readonly tiedBy?: string;
  /** transformers' default for `vocab_size`. */
  readonly vocabulary?: number;
}

/** Of all layers together; real models have 25,000 at most. More would fill the memory before any tensor is looked for. */
const MAX_EXPERTS = 200_000;

/** Assembles a description. @throws CheckpointError when there are more experts than can be */
export function decoderOf({ config, names }: FamilyInput, parts: DecoderParts): Decoder {
  let experts = 0;
  const layers = Array.from({ length: parts.sizes.layers }, (_, index): DecoderLayer => {
    const layer = names.layer(index);
    const unread = parts.unread?.(layer, index) ?? [];
    const residuals = parts.layer(layer, index);
    experts += expertsIn(residuals);
    if (experts > MAX_EXPERTS) {
      throw new CheckpointError(
        `config.json: expected up to ${MAX_EXPERTS} experts in all layers together, found more, with ${parts.sizes.layers} layers`,
      );
    }
    return {
      ...{ index, residuals },
      ...(parts.altUp && { altUp: parts.altUp(layer, index) }),
      ...(unread.length > 0 && { unread }),
    };
  });
  const embedding = `${names.embedding}.weight`;
  const tiedBy = parts.tiedBy ?? "tie_word_embeddings";
  if (tiedBy !== "tie_word_embeddings") config.ignore("tie_word_embeddings", `${tiedBy} takes its place`);
  const isTied = config.boolean(tiedBy, parts.tied ?? false);
  const vocabularySize = config.positiveInteger("vocab_size", parts.vocabulary);
  const head = tensorSource(isTied ? embedding : `${names.head}.weight`, [vocabularySize, parts.sizes.hidden]);
  return {
    modelType: config.string("model_type"),
    hiddenSize: parts.sizes.hidden,
    vocabularySize,
    embedding: { weight: embedding, ...parts.embedding },
    ...(parts.perLayerInputs && { perLayerInputs: parts.perLayerInputs }),
    ...(parts.streams && { streams: parts.streams }),
    ropes: parts.ropes,
    layers,
    end: { norm: parts.finalNorm, head, ...parts.logits },
  };
}

function expertsIn(residuals: readonly Residual[]): number {
  const blocks = residuals.flatMap(({ branches }) => branches.map(({ block }) => block));
  return blocks.reduce((sum, block) => sum + (block.kind === "experts" ? block.experts.length : 0), 0);
}

/** An RMS norm that stores its weight − 1, as Gemma's do. */
export function plusOneNormOf(config: ModelConfig): (name: string, size: number) => RmsNorm {
  const norm = rmsNormOf(config);
  return (name, size) => ({ ...norm(name, size), plusOne: true });
}

/** The same norm without a weight. */
export function withoutWeight({ weight: _, ...norm }: RmsNorm): RmsNorm {
  return norm;
}

/** Gemma's order: a norm before and one after each block, with the names of Gemma 2. @param norm from a whole name */
export function sandwiches(
  layer: LayerNames,
  norm: (name: string) => Norm,
  attention: Block,
  feedForward: Block,
): [Residual, Residual] {
  return [
    sandwich(norm(layer.attentionNorm), attention, norm(layer.of("post_attention_layernorm"))),
    sandwich(norm(layer.of("pre_feedforward_layernorm")), feedForward, norm(layer.of("post_feedforward_layernorm"))),
  ];
}

/** A soft cap; null is none. @param fallback transformers' default when the key is absent, not null */
export function softcapOf(config: ModelConfig, key: string, fallback?: number): { readonly softcap?: number } {
  const isSaid = config.mentions(key) || fallback === undefined;
  const softcap = isSaid ? config.optionalPositiveNumber(key) : config.positiveNumber(key, fallback);
  return softcap === undefined ? {} : { softcap };
}

/** down(activation(gate(x)) · up(x)) with gate and up in one tensor, gate_up_proj. */
export function gatedFused(
  names: LayerNames,
  hidden: number,
  { intermediate, activation }: { intermediate: number; activation: Activation },
): FeedForward {
  const halves = [intermediate, intermediate] as const;
  const [gate, up] = rowsOfFused(`${names.feedForward}.gate_up_proj`, hidden, halves);
  return {
    kind: "feed-forward",
    activation,
    gate,
    up,
    down: linear(names.inFeedForward("down"), intermediate, hidden),
  };
}

/** The two residuals of a layer, each with its norm before the block, named as in Llama. */
export function normsBefore(
  names: LayerNames,
  hidden: number,
  norm: (name: string, size: number) => Norm,
  [attention, feedForward]: readonly [Block, Block],
  multiplier?: number,
): Residual[] {
  return [
    preNorm(norm(names.attentionNorm, hidden), attention, multiplier),
    preNorm(norm(names.feedForwardNorm, hidden), feedForward, multiplier),
  ];
}

/** The two residuals of a layer, each with its norm after the block, named as in OLMo 2. */
export function normsBehind(
  names: LayerNames,
  hidden: number,
  norm: (name: string, size: number) => Norm,
  [attention, feedForward]: readonly [Block, Block],
): Residual[] {
  return [
    postNorm(attention, norm(names.of("post_attention_layernorm"), hidden)),
    postNorm(feedForward, norm(names.of("post_feedforward_layernorm"), hidden)),
  ];
}
