// What a decoder is made of, as pure data: the one language between config.json and the graphs. Tensor names are those
// of the checkpoint. Knows neither ONNX nor files.

import type { Rope } from "./rope.js";

export interface Decoder {
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  /** Tensor of shape [vocab, hidden]. */
  readonly embedding: string;
  readonly rope: Rope;
  readonly layers: readonly DecoderLayer[];
}

/** What turns the last hidden states into logits. */
export interface ModelEnd {
  readonly norm: RmsNorm;
  /** Tensor of shape [vocab, hidden]; the embedding when the two are tied. */
  readonly head: string;
}

export interface DecoderLayer {
  readonly index: number;
  readonly inputNorm: RmsNorm;
  readonly attention: Attention;
  readonly feedForwardNorm: RmsNorm;
  readonly feedForward: GatedFeedForward;
}

export interface Attention {
  /** Prefix of the layer's attention tensors, such as `model.layers.3.self_attn`: scales are named after it. */
  readonly name: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  /** Norms over head_dim, before rotation. */
  readonly queryNorm?: RmsNorm;
  readonly keyNorm?: RmsNorm;
  /** A token sees itself and this many − 1 tokens before it; absent: all tokens before it. */
  readonly slidingWindow?: number;
}

/** down(activation(gate(x)) · up(x)) */
export interface GatedFeedForward {
  readonly activation: Activation;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

/** y = x · weightᵀ + bias, weight of shape [outputs, inputs]. */
export interface Linear {
  readonly weight: string;
  readonly bias?: string;
  readonly inputs: number;
  readonly outputs: number;
}

export interface RmsNorm {
  readonly weight: string;
  readonly size: number;
  readonly epsilon: number;
}

/** silu(x) = x · sigmoid(x); gelu is exact (erf), gelu_tanh its approximation. */
export type Activation = "silu" | "gelu" | "gelu_tanh" | "relu";

/** Every tensor that a layer uses, with the shape that the description expects. */
export function tensorsOfLayer(layer: DecoderLayer): Map<string, readonly number[]> {
  const { attention, feedForward } = layer;
  const shapes = new Map<string, readonly number[]>();
  const linears = [attention.query, attention.key, attention.value, attention.output];
  for (const linear of [...linears, feedForward.gate, feedForward.up, feedForward.down]) {
    shapes.set(linear.weight, [linear.outputs, linear.inputs]);
    if (linear.bias !== undefined) shapes.set(linear.bias, [linear.outputs]);
  }
  for (const norm of [layer.inputNorm, layer.feedForwardNorm, attention.queryNorm, attention.keyNorm]) {
    if (norm !== undefined) shapes.set(norm.weight, [norm.size]);
  }
  return shapes;
}
