// What a decoder is made of, as pure data: the one language between config.json and the graphs. Tensor names are those
// of the checkpoint. Knows neither ONNX nor files.

import type { Block, Norm } from "./blocks.js";
import type { Rope } from "./rope.js";

export interface Decoder {
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  readonly embedding: Embedding;
  /** The rotations that layers use, by index. */
  readonly ropes: readonly Rope[];
  readonly layers: readonly DecoderLayer[];
  readonly end: ModelEnd;
  /** So many layers behind the last predict further tokens, and have no part in what is computed: they are passed over. */
  readonly nextTokenLayers?: number;
}

/** What turns token ids into the first hidden states. */
export interface Embedding {
  /** Tensor of shape [vocab, hidden]. */
  readonly weight: string;
  readonly multiplier?: number;
  /** Learned vectors of positions, added to those of tokens. */
  readonly positions?: LearnedPositions;
  readonly norm?: Norm;
}

/** A tensor of shape [offset + tokens, hidden]: the first token's row is number `offset`, and no prompt is longer. */
export interface LearnedPositions {
  readonly weight: string;
  readonly offset: number;
  readonly tokens: number;
}

/** What turns the last hidden states into logits: only verification needs it. */
export interface ModelEnd {
  readonly norm: Norm;
  /** Tensor of shape [vocab, hidden]; the embedding when the two are tied. */
  readonly head: string;
  /** Tensor of shape [vocab]. */
  readonly bias?: string;
  readonly multiplier?: number;
  /** Logits become softcap · tanh(logit / softcap). */
  readonly softcap?: number;
}

export interface DecoderLayer {
  readonly index: number;
  readonly residuals: readonly Residual[];
}

/** x + multiplier · Σ branch(x) */
export interface Residual {
  readonly branches: readonly [Branch, ...Branch[]];
  readonly multiplier?: number;
}

/** multiplier · postNorm(block(norm(x))) */
export interface Branch {
  readonly norm?: Norm;
  readonly block: Block;
  readonly postNorm?: Norm;
  readonly multiplier?: number;
}

/** All branches of a layer, in order. */
export function branchesOf({ residuals }: DecoderLayer): Branch[] {
  return residuals.flatMap(({ branches }) => branches);
}

/** All blocks of a layer, in order. */
export function blocksOf(layer: DecoderLayer): Block[] {
  return branchesOf(layer).map(({ block }) => block);
}
