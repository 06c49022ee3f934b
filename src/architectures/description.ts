// What a decoder is made of, as pure data: the one language between config.json and the graphs. Tensor names are those
// of the checkpoint. Knows neither ONNX nor files.

import type { Block, Linear, Norm } from "./blocks.js";
import type { Rope } from "./rope.js";
import type { WeightSource } from "./weight-source.js";

export interface Decoder {
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  readonly embedding: Embedding;
  /** What blocks of the kind `per-layer-input` take. */
  readonly perLayerInputs?: PerLayerInputs;
  /** Absent: one stream of hidden states. */
  readonly streams?: Streams;
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

/**
 * Embeddings of a token for each layer, joined with what the first hidden states x say:
 * (norm(projectionMultiplier · projection(x)) + tokenMultiplier · table[id]) · multiplier, of which each layer has its rows.
 */
export interface PerLayerInputs {
  /** Numbers of a layer. */
  readonly size: number;
  /** Tensor of shape [tokens, layers × size]; ids beyond it stand for its first. */
  readonly table: { readonly name: string; readonly tokens: number; readonly layers: number };
  readonly tokenMultiplier: number;
  /** Of one layer; its outputs are `size`. By layer. */
  readonly projections: readonly Linear[];
  readonly projectionMultiplier: number;
  readonly norm: Norm;
  readonly multiplier: number;
}

/**
 * Several hidden states of a token, side by side, of which layers compute one and predict and correct the others (AltUp,
 * arXiv 2301.13310). The first is the embedding; of the others each is its projection, brought to its length. Behind the
 * last layer each but the first is projected, brought to the length of the first, and the mean of all is taken.
 */
export interface Streams {
  readonly count: number;
  /** One less than streams. */
  readonly projections: readonly Linear[];
  readonly projectionsBack: readonly Linear[];
}

/**
 * What a layer does with several streams s. It predicts p = s + C(s[active]) · s, computes its residuals of p[active], and
 * adds to each what that changed, times 1 + correction(…); what the last branch gives is added to all but the first.
 */
export interface AltUp {
  readonly active: number;
  /** What coefficients are made of: tanh(modalities(routerMultiplier · routerNorm(x))), one number per stream. */
  readonly routerNorm: Norm;
  readonly routerMultiplier: number;
  readonly modalities: Linear;
  /** To streams × streams, row by row. */
  readonly prediction: Linear;
  readonly correction: Linear;
  /** Of the corrected active stream. */
  readonly last: Branch;
  /** What the active stream is multiplied with before it. [hidden] */
  readonly lastScale?: WeightSource;
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
  /** Where there are several streams. */
  readonly altUp?: AltUp;
  /** Tensors that released files have in the layer and that nothing reads. */
  readonly unread?: readonly string[];
}

/** (x + multiplier · postNorm(Σ branch(x))) · scale */
export interface Residual {
  readonly branches: readonly [Branch, ...Branch[]];
  readonly postNorm?: Norm;
  readonly multiplier?: number;
  /** A number, or a weight of shape [1]. */
  readonly scale?: WeightSource | number;
}

/** multiplier · postNorm(block(norm(x))) */
export interface Branch {
  readonly norm?: Norm;
  readonly block: Block;
  readonly postNorm?: Norm;
  readonly multiplier?: number;
}

/** All branches of a layer, in order. */
export function branchesOf({ residuals, altUp }: DecoderLayer): Branch[] {
  return [...residuals.flatMap(({ branches }) => branches), ...(altUp === undefined ? [] : [altUp.last])];
}

/** All blocks of a layer, in order. */
export function blocksOf(layer: DecoderLayer): Block[] {
  return branchesOf(layer).map(({ block }) => block);
}
