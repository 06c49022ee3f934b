// Rotary position embeddings: config.json (both dialects) → inverse frequencies → cos and sin tables.
// Formulas and float32 rounding follow transformers' modeling_rope_utils, because angles at thousands of tokens differ
// visibly when the rounding does. Knows no graph.

import { UnsupportedModelError } from "../errors.js";
import type { ModelConfig } from "./model-config.js";

export type RopeScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | { readonly type: "dynamic"; readonly factor: number; readonly maxPositions: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
    };

export interface Rope {
  readonly theta: number;
  readonly headDim: number;
  readonly scaling: RopeScaling;
}

export interface RopeTables {
  readonly cos: Float32Array; // [positions, head_dim / 2]
  readonly sin: Float32Array; // [positions, head_dim / 2]
}

type ScalingReader = (parameters: ModelConfig, config: ModelConfig) => RopeScaling;

const SCALING_READERS: Record<RopeScaling["type"], { keys: readonly string[]; read: ScalingReader }> = {
  default: { keys: [], read: () => ({ type: "default" }) },
  linear: { keys: ["factor"], read: (p) => ({ type: "linear", factor: p.positiveNumber("factor") }) },
  dynamic: {
    keys: ["factor"],
    read: (p, config) => ({
      type: "dynamic",
      factor: p.positiveNumber("factor"),
      maxPositions: config.positiveInteger("max_position_embeddings"),
    }),
  },
  llama3: {
    keys: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
    read: (p, config) => ({
      type: "llama3",
      factor: p.positiveNumber("factor"),
      lowFrequencyFactor: p.positiveNumber("low_freq_factor"),
      highFrequencyFactor: p.positiveNumber("high_freq_factor"),
      originalMaxPositions: readOriginalMaxPositions(p, config),
    }),
  },
  yarn: {
    keys: [
      "factor",
      "original_max_position_embeddings",
      "attention_factor",
      "beta_fast",
      "beta_slow",
      "mscale",
      "mscale_all_dim",
      "truncate",
    ],
    read: readYarn,
  },
};

/**
 * Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (transformers 4).
 * @throws UnsupportedModelError for a scaling type or a key that is not understood: both change K
 */
export function readRope(config: ModelConfig, headDim: number): Rope {
  const key = config.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const parameters = config.optionalObject(key);
  const theta = parameters?.has("rope_theta")
    ? parameters.positiveNumber("rope_theta")
    : config.positiveNumber("rope_theta", 10000);
  if (parameters === undefined || parameters.keys().length === 0) {
    return { theta, headDim, scaling: { type: "default" } };
  }
  const type = parameters.string(parameters.has("rope_type") ? "rope_type" : "type", "default");
  if (!Object.hasOwn(SCALING_READERS, type)) {
    const known = Object.keys(SCALING_READERS).join(", ");
    throw new UnsupportedModelError(`${config.nameOf(key)}: RoPE type "${type}" is not supported; supported: ${known}`);
  }
  const reader = SCALING_READERS[type as RopeScaling["type"]];
  checkKeys(parameters, type, ["rope_type", "type", "rope_theta", "partial_rotary_factor", ...reader.keys]);
  return { theta, headDim, scaling: reader.read(parameters, config) };
}

function checkKeys(parameters: ModelConfig, type: string, known: readonly string[]): void {
  const partial = parameters.positiveNumber("partial_rotary_factor", 1);
  if (partial !== 1) {
    throw new UnsupportedModelError(`${parameters.nameOf("partial_rotary_factor")}: ${partial} is not supported here`);
  }
  // transformers ignores keys that a RoPE type does not use; so do these, when they belong to another type.
  const harmless = new Set(Object.values(SCALING_READERS).flatMap(({ keys }) => keys));
  const unknown = parameters.keys().find((key) => !known.includes(key) && !harmless.has(key));
  if (unknown !== undefined) {
    throw new UnsupportedModelError(
      `${parameters.nameOf(unknown)}: not understood for RoPE type "${type}", and it may change the keys`,
    );
  }
}

function readOriginalMaxPositions(parameters: ModelConfig, config: ModelConfig): number {
  // transformers gives priority to the key outside the RoPE parameters.
  const outer = config.optionalPositiveInteger("original_max_position_embeddings");
  if (outer !== undefined) return outer;
  return (
    parameters.optionalPositiveInteger("original_max_position_embeddings") ??
    config.positiveInteger("max_position_embeddings")
  );
}

function readYarn(parameters: ModelConfig, config: ModelConfig): RopeScaling {
  const originalMaxPositions = readOriginalMaxPositions(parameters, config);
  const factor =
    parameters.optionalPositiveNumber("factor") ??
    config.positiveInteger("max_position_embeddings") / originalMaxPositions;
  return {
    type: "yarn",
    factor,
    originalMaxPositions,
    attentionFactor: parameters.optionalPositiveNumber("attention_factor") ?? yarnAttentionFactor(parameters, factor),
    betaFast: parameters.positiveNumber("beta_fast", 32),
    betaSlow: parameters.positiveNumber("beta_slow", 1),
    // null is false to transformers, absent is true.
    truncate: parameters.boolean("truncate", !parameters.mentions("truncate")),
  };
}

/** YaRN (arXiv 2309.00071), equation 22, with DeepSeek's mscale and mscale_all_dim. */
function yarnAttentionFactor(parameters: ModelConfig, factor: number): number {
  const magnitude = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  // 0 counts as absent.
  const read = (key: string) => (parameters.raw(key) === 0 ? undefined : parameters.optionalPositiveNumber(key));
  const mscale = read("mscale");
  const mscaleAllDim = read("mscale_all_dim");
  return mscale && mscaleAllDim ? magnitude(mscale) / magnitude(mscaleAllDim) : magnitude(1);
}

/**
 * Whether two prompts may share a batch: lengths with equal regimes use the same tables. Only dynamic scaling depends on
 * the length, and only beyond the trained positions.
 */
export function ropeRegime(rope: Rope, length: number): number {
  return rope.scaling.type === "dynamic" ? Math.max(length, rope.scaling.maxPositions) : 0;
}

/** Inverse frequencies, float32, of a prompt of `length` tokens. */
export function inverseFrequencies(rope: Rope, length: number): Float32Array {
  const { scaling, headDim } = rope;
  const frequencies = new Float32Array(headDim / 2);
  const base = scaling.type === "dynamic" ? dynamicBase(rope.theta, scaling, headDim, length) : rope.theta;
  for (let pair = 0; pair < frequencies.length; pair++) {
    const wave = Math.fround(base ** Math.fround((2 * pair) / headDim));
    frequencies[pair] = 1 / wave;
  }
  switch (scaling.type) {
    case "default":
    case "dynamic":
      return frequencies;
    case "linear":
      return frequencies.map((frequency) => frequency / scaling.factor);
    case "llama3":
      return frequencies.map((frequency) => llama3Frequency(frequency, scaling));
    case "yarn":
      return yarnFrequencies(rope, scaling);
  }
}

/** NTK-aware base that grows with the prompt beyond the trained positions. */
function dynamicBase(
  theta: number,
  scaling: Extract<RopeScaling, { type: "dynamic" }>,
  headDim: number,
  length: number,
): number {
  const ratio = Math.max(length, scaling.maxPositions) / scaling.maxPositions;
  return theta * (scaling.factor * ratio - (scaling.factor - 1)) ** (headDim / (headDim - 2));
}

function llama3Frequency(frequency: number, scaling: Extract<RopeScaling, { type: "llama3" }>): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > originalMaxPositions / lowFrequencyFactor) return frequency / factor;
  if (wavelength < originalMaxPositions / highFrequencyFactor) return frequency;
  const smooth = (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

function yarnFrequencies(rope: Rope, scaling: Extract<RopeScaling, { type: "yarn" }>): Float32Array {
  const { headDim, theta } = rope;
  const [low, high] = yarnCorrectionRange(rope, scaling);
  return Float32Array.from({ length: headDim / 2 }, (_, pair) => {
    const wave = Math.fround(theta ** Math.fround((2 * pair) / headDim));
    const ramp = Math.min(Math.max(Math.fround(Math.fround(pair - low) / Math.fround(high - low)), 0), 1);
    const extrapolated = Math.fround(1 - ramp);
    const extrapolation = Math.fround(1 / wave);
    const interpolation = Math.fround(1 / Math.fround(scaling.factor * wave));
    return Math.fround(interpolation * Math.fround(1 - extrapolated)) + Math.fround(extrapolation * extrapolated);
  });
}

/** Between which pairs the frequencies pass from extrapolated to interpolated. */
function yarnCorrectionRange(rope: Rope, scaling: Extract<RopeScaling, { type: "yarn" }>): [number, number] {
  const dimensionOf = (rotations: number) =>
    (rope.headDim * Math.log(scaling.originalMaxPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  const low = dimensionOf(scaling.betaFast);
  const high = dimensionOf(scaling.betaSlow);
  const first = Math.max(scaling.truncate ? Math.floor(low) : low, 0);
  const last = Math.min(scaling.truncate ? Math.ceil(high) : high, rope.headDim - 1);
  return [first, first === last ? last + 0.001 : last];
}

/** What cos and sin are multiplied with; K in the cache includes it. */
export function ropeAttentionFactor(rope: Rope): number {
  return rope.scaling.type === "yarn" ? rope.scaling.attentionFactor : 1;
}

/** cos and sin of every position below `length`. */
export function ropeTables(rope: Rope, length: number): RopeTables {
  const frequencies = inverseFrequencies(rope, length);
  const factor = Math.fround(ropeAttentionFactor(rope));
  const pairs = frequencies.length;
  const cos = new Float32Array(length * pairs);
  const sin = new Float32Array(length * pairs);
  for (let position = 0; position < length; position++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = Math.fround(position * (frequencies[pair] ?? 0));
      cos[position * pairs + pair] = Math.fround(Math.cos(angle)) * factor;
      sin[position * pairs + pair] = Math.fround(Math.sin(angle)) * factor;
    }
  }
  return { cos, sin };
}
