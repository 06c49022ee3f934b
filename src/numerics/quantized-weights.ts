// How the weights of a checkpoint are quantized, for people and in JSON. Knows no tensor.

export interface QuantizedWeights {
  /** `quant_method` of its quantization_config. */
  readonly method: string;
  /** Each form of its weights, such as "FP8 with a scale for 128 × 128 weights". */
  readonly forms: readonly string[];
  /** Whether engines quantize activations, too. That is not done here. */
  readonly activations: boolean;
}

/** For JSON; without the key where weights are not quantized. */
export function quantizedWeightsRecord(weights: QuantizedWeights | undefined) {
  if (weights === undefined) return {};
  const { method, forms, activations } = weights;
  return { quantized_weights: { method, forms, engines_quantize_activations: activations } };
}
