// The blocks that decoders are made of, as pure data: what is written here is all that a graph computes, and a switch that
// no graph knows has no place here. Knows no family, no file and no graph.

import type { Experts } from "./experts.js";
import type { WeightSource } from "./weight-source.js";

/** What a residual branch may hold. A new kind needs its facts in block-facts.ts and its nodes in graphs/record-block.ts. */
export type Block = Attention | SharedAttention | FeedForward | PerLayerInput | LowRank | Experts;

/** softmax(q · kᵀ · scale) · v of grouped heads, causal, with a KV cache of its own. */
export interface Attention extends AttentionReading {
  readonly kind: "attention";
  readonly key: Linear;
  readonly value: Linear;
  readonly keyNorm?: HeadNorm;
  /** Over each head of V, before it enters the cache. */
  readonly valueNorm?: Norm;
  /** q, k and v are cut to ±clip before q and k rotate, behind the multipliers and norms that come before that. */
  readonly clip?: number;
  /** K, V are multiplied with it before they enter the cache. */
  readonly keyMultiplier?: number;
  readonly valueMultiplier?: number;
}

/** Attention that reads the cache of an earlier layer, as that one does, and writes none. */
export interface SharedAttention extends AttentionReading {
  readonly kind: "shared-attention";
  /** The layer whose cache it reads. */
  readonly cacheOf: number;
}

/** What attention is, whoever writes its cache. */
export interface AttentionReading {
  /** Prefix of the attention's tensors, such as `model.layers.3.self_attn`: scales are named after it. */
  readonly name: string;
  readonly heads: number;
  readonly kvHeads: number;
  /** Of queries and keys. */
  readonly headDim: number;
  /** Of values; absent: head_dim. */
  readonly valueDim?: number;
  readonly query: Linear;
  readonly output: Linear;
  readonly queryNorm?: HeadNorm;
  /** Absent: none (NoPE). */
  readonly rope?: RopeUse;
  /** Of queries, where they do not rotate as keys do. */
  readonly queryRope?: RopeUse;
  /** What scores are multiplied with; absent: head_dim^−½. */
  readonly scale?: number;
  /** Scores become softcap · tanh(score / softcap). */
  readonly softcap?: number;
  /** A token sees itself and this many − 1 tokens before it; absent: all tokens before it. */
  readonly slidingWindow?: number;
  /** A token sees those before it in its own chunk alone: positions are cut into chunks of so many. Absent: no chunks. */
  readonly chunkSize?: number;
  /** A score of each head that stands for no token. [heads] */
  readonly sinks?: WeightSource;
  /** What comes out is multiplied with activation(projection(x)) before the output projection. */
  readonly gate?: OutputGate;
}

export interface RopeUse {
  /** Index into the decoder's `ropes`. */
  readonly rope: number;
  /** The first so many dimensions of a head are rotated. */
  readonly dimensions: number;
  /** Which dimensions rotate together: d and d + dimensions / 2, or 2d and 2d + 1. */
  readonly pairing: "halves" | "neighbours";
}

export interface HeadNorm {
  readonly norm: Norm;
  /** Each head by itself, or the whole projection at once. */
  readonly over: "head" | "projection";
  readonly when: "before-rotation" | "after-rotation";
}

export interface OutputGate {
  /** To heads × value_dim numbers, or to one per head. */
  readonly projection: Linear;
  readonly activation: "sigmoid" | "softplus";
}

/** down(activation(gate(x)) · up(x)), or without a gate down(activation(up(x))). */
export interface FeedForward {
  readonly kind: "feed-forward";
  readonly activation: Activation | Xielu | ClampedSwiglu;
  /**
   * What a gate's outputs of a token are lowered by before the activation: their mean and so many of their standard
   * deviations. Below it they become 0.
   */
  readonly gateCutoff?: number;
  readonly gate?: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

/** x + norm(right(left(x))): a residual of low rank (LAuReL, arXiv 2411.07501). */
export interface LowRank {
  readonly kind: "low-rank";
  readonly left: Linear;
  readonly right: Linear;
  readonly norm: Norm;
}

/** projection(activation(gate(x)) · e), e being what the decoder's embeddings per layer say of a token in one layer. */
export interface PerLayerInput {
  readonly kind: "per-layer-input";
  /** Whose embeddings it takes. */
  readonly layer: number;
  readonly activation: Activation;
  readonly gate: Linear;
  readonly projection: Linear;
}

/**
 * With learned numbers p and n: x > 0 ? softplus(p) x² + beta x : (beta + softplus(n)) (expm1(min(x, epsilon)) − x) + beta x
 * ([arXiv 2411.13010](https://arxiv.org/abs/2411.13010)), as in Apertus.
 */
export interface Xielu {
  readonly kind: "xielu";
  readonly positive: WeightSource;
  readonly negative: WeightSource;
  readonly beta: WeightSource;
  readonly epsilon: WeightSource;
}

/** g · sigmoid(alpha · g) · (u + 1), where g is gate(x) cut at limit and u is up(x) cut at ±limit, as in GPT-OSS. */
export interface ClampedSwiglu {
  readonly kind: "clamped-swiglu";
  readonly alpha: number;
  readonly limit: number;
}

/** y = x · weightᵀ + bias */
export interface Linear {
  readonly weight: WeightSource;
  readonly bias?: WeightSource;
  readonly inputs: number;
  readonly outputs: number;
}

/** Over the last axis; a weight of another shape than [size] is broadcast from the right, as [heads, size] over heads. */
export type Norm = RmsNorm | LayerNorm;

/** x / √(mean(x²) + ε) · weight */
export interface RmsNorm {
  readonly kind: "rms";
  /** Absent: 1. */
  readonly weight?: WeightSource;
  readonly size: number;
  readonly epsilon: number;
  /** What is stored is the weight − 1. Then all of the norm is computed in float32, as in Gemma. */
  readonly plusOne?: true;
  /** The weight multiplies in float32, before what is computed is narrowed to 16 bits, as in OLMo 2. */
  readonly product?: "float32";
}

/** (x − mean(x)) / √(variance(x) + ε) · weight + bias */
export interface LayerNorm {
  readonly kind: "layer";
  /** Absent: 1. */
  readonly weight?: WeightSource;
  readonly bias?: WeightSource;
  readonly size: number;
  readonly epsilon: number;
  /** What is stored is the weight − 1, as in Nemotron. */
  readonly plusOne?: true;
}

/** silu(x) = x · sigmoid(x); gelu is exact (erf), gelu_tanh its approximation, gelu_quick x · sigmoid(1.702 x); relu2 relu(x)². */
export type Activation = "silu" | "gelu" | "gelu_tanh" | "gelu_quick" | "relu" | "relu2";

/** How wide a head of V is. */
export function valueDimOf({ headDim, valueDim }: Pick<AttentionReading, "headDim" | "valueDim">): number {
  return valueDim ?? headDim;
}
