// The description of a decoder as pure data, between config.json and the graphs. Tensor names are those of the
// checkpoint. Knows no ONNX and no files.

import type { Block, Linear, Norm } from "./blocks.js";
import type { Rope } from "./rope.js";
import type { StoredSource, WeightSource } from "./weight-source.js";

export interface Decoder {
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  readonly embedding: Embedding;
  /** The input of blocks of the kind `per-layer-input`. */
  readonly perLayerInputs?: PerLayerInputs;
  /** Absent: one stream of hidden states. */
  readonly streams?: Streams;
  /** The rotations that layers use, by index. */
  readonly ropes: readonly Rope[];
  readonly layers: readonly DecoderLayer[];
  readonly end: ModelEnd;
  /** Number of extra layers after the last that predict further tokens; they are skipped. */
  readonly nextTokenLayers?: number;
  /** Of weights that are stored as codes; absent: there are none. */
  readonly quantization?: QuantizedWeights;
}

/** How a checkpoint's weights are quantized, for people. */
export interface QuantizedWeights {
  /** quant_method of its quantization_config. */
  readonly method: string;
  /** The forms of its weights, such as "FP8 with a scale for 128 × 128 weights". */
  readonly forms: readonly string[];
  /** Whether engines quantize activations, too. */
  readonly activations: boolean;
}

/** The embedding: token ids to the first hidden states. */
export interface Embedding {
  /** Tensor of shape [vocab, hidden]. */
  readonly weight: string;
  readonly multiplier?: number;
  /** Learned position embeddings, added to those of tokens. */
  readonly positions?: LearnedPositions;
  readonly norm?: Norm;
}

/**
 * Per-layer embeddings of a token, joined with a projection of the first hidden states x: (norm(projectionMultiplier ·
 * projection(x)) + tokenMultiplier · table[id]) · multiplier. Each layer takes its rows.
 */
export interface PerLayerInputs {
  /** Width per layer. */
  readonly size: number;
  /** Tensor of shape [tokens, layers × size]; ids without a row use the first one. */
  readonly table: { readonly name: string; readonly tokens: number; readonly layers: number };
  readonly tokenMultiplier: number;
  /** The projection of each layer, with `size` outputs. */
  readonly projections: readonly Linear[];
  readonly projectionMultiplier: number;
  readonly norm: Norm;
  readonly multiplier: number;
}

/**
 * AltUp (arXiv 2301.13310): several streams of hidden states side by side. Layers compute one of them, and predict and
 * correct the others. The first is the embedding; each other one is a projection of it, scaled to its length. After the
 * last layer each but the first is projected and scaled to the length of the first, and the mean of all is the result.
 */
export interface Streams {
  readonly count: number;
  /** Projections, one less than streams. */
  readonly projections: readonly Linear[];
  readonly projectionsBack: readonly Linear[];
}

/**
 * A layer's work with several streams s: it predicts p = s + C(s[active]) · s, computes its residuals from p[active],
 * and adds the change of that to each stream, times 1 + correction(…). The result of the last branch is added to all
 * streams but the first.
 */
export interface AltUp {
  readonly active: number;
  /** The input of the coefficients: tanh(modalities(routerMultiplier · routerNorm(x))), one number per stream. */
  readonly routerNorm: Norm;
  readonly routerMultiplier: number;
  readonly modalities: Linear;
  /** Projection to streams × streams, row by row. */
  readonly prediction: Linear;
  readonly correction: Linear;
  /** Block on the corrected active stream. */
  readonly last: Branch;
  /** Factor on the active stream before that. [hidden] */
  readonly lastScale?: WeightSource;
}

/** A tensor of shape [offset + tokens, hidden]: the first token's row is number `offset`, and no prompt is longer. */
export interface LearnedPositions {
  readonly weight: string;
  readonly offset: number;
  readonly tokens: number;
}

/** The final norm and the output head, which only verification needs. */
export interface ModelEnd {
  readonly norm: Norm;
  /** [vocab, hidden]; the embedding when they are tied. */
  readonly head: StoredSource;
  /** Tensor of shape [vocab]. */
  readonly bias?: string;
  readonly multiplier?: number;
  /** Logits become softcap · tanh(logit / softcap). */
  readonly softcap?: number;
}

export interface DecoderLayer {
  readonly index: number;
  readonly residuals: readonly Residual[];
  /** Only with several streams. */
  readonly altUp?: AltUp;
  /** Tensors of the layer in released files that nothing reads. */
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

/** multiplier · postNorm(block(inputMultiplier · norm(x))) */
export interface Branch {
  readonly norm?: Norm;
  readonly inputMultiplier?: number;
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
