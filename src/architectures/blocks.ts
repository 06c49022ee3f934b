// The blocks of decoders as pure data: exactly what graphs can compute. There is no setting here that no graph
// implements. Knows no family, no file and no graph.

import type { Experts } from "./experts.js";
import type { SelectiveScan, StateSpace } from "./state-space.js";
import type { WeightSource } from "./weight-source.js";

/**
 * The block of a residual branch. A new kind needs its facts in block-facts.ts and its nodes in
 * graphs/decoder-layer.ts.
 */
export type Block =
  | Attention
  | SharedAttention
  | GatedDeltaNet
  | ShortConvolution
  | StateSpace
  | SelectiveScan
  | FeedForward
  | PerLayerInput
  | LowRank
  | Experts;

/** softmax(q · kᵀ · scale) · v with grouped heads, causal, with a KV cache of its own. */
export interface Attention extends AttentionReading {
  readonly kind: "attention";
  readonly key: Linear;
  readonly value: Linear;
  readonly keyNorm?: HeadNorm;
  /** A norm over each head of V, before it enters the cache. */
  readonly valueNorm?: Norm;
  /** q, k and v are clamped to ±clip before q and k rotate, after multipliers and norms that come before rotation. */
  readonly clip?: number;
  /** Factors on K and V before they enter the cache. */
  readonly keyMultiplier?: number;
  readonly valueMultiplier?: number;
}

/** Attention that reads the cache of an earlier layer, with that layer's window and rotation, and writes none. */
export interface SharedAttention extends AttentionReading {
  readonly kind: "shared-attention";
  /** The layer whose cache it reads. */
  readonly cacheOf: number;
}

/** Attention with or without a cache of its own. */
export interface AttentionReading {
  /** Prefix of the attention's tensors, such as `model.layers.3.self_attn`. It is also the prefix of scales. */
  readonly name: string;
  readonly heads: number;
  readonly kvHeads: number;
  /** Head size of queries and keys. */
  readonly headDim: number;
  /** Head size of values; absent: head_dim. */
  readonly valueDim?: number;
  readonly query: Linear;
  readonly output: Linear;
  readonly queryNorm?: HeadNorm;
  /** Absent: none (NoPE). */
  readonly rope?: RopeUse;
  /** The rotation of queries, where it differs from that of keys. */
  readonly queryRope?: RopeUse;
  /** Factor on scores; absent: head_dim^−½. */
  readonly scale?: number;
  /** Scores become softcap · tanh(score / softcap). */
  readonly softcap?: number;
  /** Sliding window: a token attends to itself and this many − 1 tokens before it; absent: to all tokens before it. */
  readonly slidingWindow?: number;
  /**
   * Chunk size: a token attends only to itself and to tokens before it in its own chunk of positions. Absent: no
   * chunks.
   */
  readonly chunkSize?: number;
  /** Sinks: a learned score per head that belongs to no token. [heads] */
  readonly sinks?: WeightSource;
  /** The output is multiplied by activation(projection(x)) before the output projection. */
  readonly gate?: OutputGate;
}

export interface RopeUse {
  /** Index into the decoder's `ropes`. */
  readonly rope: number;
  /** Number of rotated dimensions of a head, from the first. */
  readonly dimensions: number;
  /** Pairs of rotated dimensions: d and d + dimensions / 2, or 2d and 2d + 1 (interleaved). */
  readonly pairing: "halves" | "neighbours";
}

export interface HeadNorm {
  readonly norm: Norm;
  /** Whether the norm is over each head or over the whole projection. */
  readonly over: "head" | "projection";
  readonly when: "before-rotation" | "after-rotation";
}

export interface OutputGate {
  /** A projection to heads × value_dim numbers, or to one per head. */
  readonly projection: Linear;
  readonly activation: "sigmoid" | "softplus";
}

/**
 * Gated DeltaNet ([arXiv 2412.06464](https://arxiv.org/abs/2412.06464)): in the place of K and V, a head of values keeps
 * a state S [key_dim, value_dim]. A token with q and k of length 1 makes it exp(decay) · S, then S + k ⊗ beta · (v − Sᵀk),
 * and reads Sᵀq / √key_dim.
 */
export interface GatedDeltaNet {
  readonly kind: "gated-delta-net";
  /** Heads of queries and keys; each serves as many consecutive heads of values. */
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly query: ConvolvedProjection;
  readonly key: ConvolvedProjection;
  readonly value: ConvolvedProjection;
  /** After the convolutions. */
  readonly activation: Activation;
  /** −exp(log_rate) · softplus(decay(x) + decay_bias), one number per head of values. */
  readonly decay: Linear;
  readonly decayBias: WeightSource;
  readonly decayLogRate: WeightSource;
  /** beta_multiplier · sigmoid(beta(x)), one number per head of values. */
  readonly beta: Linear;
  /** Absent: 1. */
  readonly betaMultiplier?: number;
  /** The output of each head is normed and multiplied by silu(gate(x)). */
  readonly norm: RmsNorm;
  readonly gate: Linear;
  readonly output: Linear;
}

export interface ConvolvedProjection {
  readonly projection: Linear;
  readonly convolution: CausalConvolution;
}

/** down(activation(gate(x)) · up(x)), or without a gate down(activation(up(x))). */
export interface FeedForward {
  readonly kind: "feed-forward";
  readonly activation: Activation | Xielu | ClampedSwiglu;
  /**
   * Before the activation, mean + this many standard deviations of a token's gate outputs are subtracted from them;
   * negative values become 0.
   */
  readonly gateCutoff?: number;
  readonly gate?: Linear;
  /** Factor on gate(x). */
  readonly gateMultiplier?: number;
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

/** projection(activation(gate(x)) · e), where e is the token's per-layer embedding. */
export interface PerLayerInput {
  readonly kind: "per-layer-input";
  /** The layer whose embedding it takes. */
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

/**
 * g · sigmoid(alpha · g) · (u + 1), where g is gate(x) clamped at limit and u is up(x) clamped at ±limit, as in
 * GPT-OSS.
 */
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

/** output(gateBehind(x) · convolution(gateBefore(x) · input(x))), in place of attention, as in LFM2. */
export interface ShortConvolution {
  readonly kind: "short-convolution";
  readonly gateBefore: Linear;
  readonly input: Linear;
  readonly convolution: CausalConvolution;
  readonly gateBehind: Linear;
  readonly output: Linear;
}

/** A convolution over tokens, of each channel by itself; a token sees itself and the kernel − 1 tokens before it. */
export interface CausalConvolution {
  /** [channels, 1, kernel]; the last number is for the token itself. */
  readonly weight: WeightSource;
  /** [channels] */
  readonly bias?: WeightSource;
  readonly channels: number;
  readonly kernel: number;
}

/**
 * Norms over the last axis. A weight with another shape than [size] is broadcast from the right, such as [heads, size]
 * over heads.
 */
export type Norm = RmsNorm | LayerNorm;

/** x / √(mean(x²) + ε) · weight */
export interface RmsNorm {
  readonly kind: "rms";
  /** Absent: 1. */
  readonly weight?: WeightSource;
  readonly size: number;
  readonly epsilon: number;
  /** The stored number is the weight − 1. Then the whole norm is computed in float32, as in Gemma. */
  readonly plusOne?: true;
  /** The weight is multiplied in float32, before the cast to 16 bits, as in OLMo 2. */
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
  /** The stored number is the weight − 1, as in Nemotron. */
  readonly plusOne?: true;
}

/** silu(x) = x · sigmoid(x); gelu is exact (erf), gelu_tanh its approximation, gelu_quick x · sigmoid(1.702 x); relu2 relu(x)². */
export type Activation = "silu" | "gelu" | "gelu_tanh" | "gelu_quick" | "relu" | "relu2";

/** The head size of V. */
export function valueDimOf({ headDim, valueDim }: Pick<AttentionReading, "headDim" | "valueDim">): number {
  return valueDim ?? headDim;
}
