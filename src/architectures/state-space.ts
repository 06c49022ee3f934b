// State-space models in the place of attention, as pure data: Mamba-2 and Mamba-1. x, b, c and Δ are what the papers call
// x, B, C and Δ. Knows no ONNX and no files.

import type { Activation, ConvolvedProjection, Linear, Norm } from "./blocks.js";
import type { WeightSource } from "./weight-source.js";

/**
 * Mamba-2 ([arXiv 2405.21060](https://arxiv.org/abs/2405.21060)). A head keeps a state S [state_size, head_dim], which
 * begins with 0. With Δ = softplus(time_step(u) + bias) of a token u, S becomes exp(−exp(log_rate) Δ) · S + b ⊗ Δx, and
 * the output of the head is Sᵀc + skip · x.
 */
export interface StateSpace {
  readonly kind: "state-space";
  readonly heads: number;
  readonly headDim: number;
  /** b and c of a group serve heads / groups consecutive heads. */
  readonly groups: number;
  readonly x: ConvolvedProjection;
  /** [groups × state_size] */
  readonly b: ConvolvedProjection;
  readonly c: ConvolvedProjection;
  /** After the convolutions. */
  readonly activation: Activation;
  readonly timeStep: Linear;
  readonly timeStepBias: WeightSource;
  /** Δ is clamped to this range. Absent: any. */
  readonly timeStepLimits?: TimeStepLimits;
  /** [heads] */
  readonly decayLogRate: WeightSource;
  /** [heads] */
  readonly skip: WeightSource;
  /** The output of all heads is multiplied by silu(gate(u)). */
  readonly gate: Linear;
  readonly norm?: GroupedNorm;
  /** Factors on what the projections give, before convolutions, softplus and silu. Absent: 1 each. */
  readonly multipliers?: Readonly<Record<"x" | "b" | "c" | "timeStep" | "gate", number>>;
  readonly output: Linear;
}

export interface TimeStepLimits {
  readonly least: number;
  /** Absent: none. */
  readonly most?: number;
}

/** An RMS norm over each of several groups of consecutive heads, before the output of the heads meets the gate or after it. */
export interface GroupedNorm {
  /** [heads × head_dim] */
  readonly weight: WeightSource;
  readonly groups: number;
  readonly epsilon: number;
  readonly when: "before-gate" | "after-gate";
}

/**
 * Mamba-1, the selective scan ([arXiv 2312.00752](https://arxiv.org/abs/2312.00752)). A channel keeps a state s
 * [state_size], which begins with 0. With Δ = softplus(time_step(…)), s becomes exp(−exp(log_rate) Δ) · s + Δx · b, and
 * the output of the channel is s · c + skip · x, times silu(gate(u)). b, c and Δ are made of x after its convolution.
 */
export interface SelectiveScan {
  readonly kind: "selective-scan";
  readonly channels: number;
  readonly x: ConvolvedProjection;
  /** After the convolution. */
  readonly activation: Activation;
  /** [state_size] */
  readonly b: NormedProjection;
  readonly c: NormedProjection;
  /** The input of `timeStep`, narrower than the channels. */
  readonly timeStepInput: NormedProjection;
  readonly timeStep: Linear;
  /** [channels, state_size] */
  readonly decayLogRate: WeightSource;
  /** [channels] */
  readonly skip: WeightSource;
  readonly gate: Linear;
  readonly output: Linear;
}

export interface NormedProjection {
  readonly projection: Linear;
  readonly norm: Norm;
}
