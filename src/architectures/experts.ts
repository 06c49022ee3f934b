// A mixture of experts as pure data: the router, the experts, and the shared expert. Knows no ONNX and no files.

import type { FeedForward, Linear, Norm } from "./blocks.js";
import type { WeightSource } from "./weight-source.js";

/** Σ weight · expert(x) over the experts that the router chooses for a token, plus the shared expert. */
export interface Experts {
  readonly kind: "experts";
  readonly router: Router;
  /** Norm of the experts' input; the router reads x itself. */
  readonly norm?: Norm;
  /** The experts work in a narrower space: their input is into(x), and out(Σ weight · expert) is their output. */
  readonly latent?: { readonly into: Linear; readonly out: Linear };
  readonly experts: readonly FeedForward[];
  /** Whether the router's weight multiplies an expert's input or its output. */
  readonly weighted: "input" | "output";
  readonly shared?: SharedExpert;
}

/** An expert for every token; with a gate its output is multiplied by sigmoid(gate(x)). */
export interface SharedExpert {
  readonly feedForward: FeedForward;
  /** One output. */
  readonly gate?: Linear;
}

export type Router = ScoreRouter | SparseMixer;

/** Chooses the experts with the best scores, and weights them by these scores. */
export interface ScoreRouter {
  readonly kind: "scores";
  /** The router's input is multiplier · norm(x); absent: x. */
  readonly input?: { readonly norm: Norm; readonly multiplier: number };
  /** Projection of x to one logit per expert. */
  readonly logits: Linear;
  /** Number of experts per token. */
  readonly perToken: number;
  /** Logits first become softcap · tanh(logits / softcap). */
  readonly softcap?: number;
  readonly score: "softmax" | "sigmoid";
  /** Tensor [experts], added to the scores for choosing experts, not for their weights. */
  readonly correction?: WeightSource;
  /** Experts are chosen only from the `chosen` groups with the largest sum of their two best scores. */
  readonly groups?: { readonly count: number; readonly chosen: number };
  /** A token's weights are divided by their p-norm + epsilon, or by `floor` if that is larger. */
  readonly normalised?: { readonly p: number; readonly epsilon: number; readonly floor: number };
  /** Factor on every weight. */
  readonly multiplier: number;
  /** Factor on the weights of each expert, applied last. [experts] */
  readonly perExpert?: WeightSource;
}

/**
 * Two experts, each weighted by a softmax over the experts near it: the first over all, the second without the first.
 * Near means (largest − logit) / max(|logit|, largest) ≤ 2 · jitter (inference of SparseMixer-v2, arXiv 2409.12136).
 */
export interface SparseMixer {
  readonly kind: "sparse-mixer";
  readonly logits: Linear;
  readonly perToken: 2;
  readonly jitter: number;
}
