// A mixture of experts as pure data: which experts a token is sent to, what each computes, and what is added for every
// token. Knows neither ONNX nor files.

import type { FeedForward, Linear, Norm } from "./blocks.js";
import type { WeightSource } from "./weight-source.js";

/** Σ weight · expert(x) over the experts that the router chooses for a token; plus the shared expert. */
export interface Experts {
  readonly kind: "experts";
  readonly router: Router;
  /** Of what goes into experts; the router reads x itself. */
  readonly norm?: Norm;
  readonly experts: readonly FeedForward[];
  /** What the router's weight multiplies: what goes into an expert, or what comes out. */
  readonly weighted: "input" | "output";
  readonly shared?: SharedExpert;
}

/** An expert for every token, added to the others; with a gate it is multiplied by sigmoid(gate(x)) first. */
export interface SharedExpert {
  readonly feedForward: FeedForward;
  /** One output. */
  readonly gate?: Linear;
}

export type Router = ScoreRouter | SparseMixer;

/** Chooses the experts with the best scores, and weighs them by these. */
export interface ScoreRouter {
  readonly kind: "scores";
  /** The router reads multiplier · norm(x); absent: x. */
  readonly input?: { readonly norm: Norm; readonly multiplier: number };
  /** x → one logit for each expert. */
  readonly logits: Linear;
  /** Experts that a token is sent to. */
  readonly perToken: number;
  /** The logits are bounded to softcap · tanh(logits / softcap) first. */
  readonly softcap?: number;
  readonly score: "softmax" | "sigmoid";
  /** Tensor [experts], added to the scores to choose experts, not to weigh them. */
  readonly correction?: WeightSource;
  /** Experts are chosen from the `chosen` groups whose two best experts have the largest sum. */
  readonly groups?: { readonly count: number; readonly chosen: number };
  /** The weights of a token are divided by their p-norm + epsilon, or by `floor` if that is larger. */
  readonly normalised?: { readonly p: number; readonly epsilon: number; readonly floor: number };
  /** Multiplies every weight. */
  readonly multiplier: number;
  /** Multiplies the weights of each expert, last. [experts] */
  readonly perExpert?: WeightSource;
}

/**
 * Two experts, each weighed by a softmax over those that are near it: the first over all, the second without the first.
 * Near is (largest − logit) / max(|logit|, largest) ≤ 2 · jitter. (SparseMixer-v2, arXiv 2409.12136, as it infers.)
 */
export interface SparseMixer {
  readonly kind: "sparse-mixer";
  readonly logits: Linear;
  readonly perToken: 2;
  readonly jitter: number;
}
