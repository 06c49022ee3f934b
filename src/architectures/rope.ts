// Rotary position embeddings: config.json (both dialects) → inverse frequencies → cos and sin tables.
// Formulas and float32 rounding follow transformers' modeling_rope_utils, because angles at thousands of tokens differ
// visibly when the rounding does. Knows no graph.

import { CheckpointError, UnsupportedModelError } from "../errors.js";
import { ModelConfig, shortJson } from "./model-config.js";

export type RopeScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | { readonly type: "dynamic"; readonly factor: number; readonly maxPositions: number }
  /** theta · alpha^(dimensions / (dimensions − 2)) in place of theta. */
  | { readonly type: "ntk_alpha"; readonly alpha: number }
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
    }
  | {
      readonly type: "longrope";
      /** Divisors of the frequencies, for prompts up to the trained length and for longer ones. */
      readonly shortFactors: readonly number[];
      readonly longFactors: readonly number[];
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
      /** The factor for prompts longer than the trained length; absent: the same. */
      readonly longAttentionFactor?: number;
    }
  /**
   * Only the first pairs rotate, with the frequencies that they would have if all did; this is their share of all
   * pairs.
   */
  | { readonly type: "proportional"; readonly factor: number; readonly share: number };

export interface Rope {
  readonly theta: number;
  /** Number of rotated dimensions of a head. */
  readonly dimensions: number;
  readonly scaling: RopeScaling;
  /** The position of the first token; absent: 0. */
  readonly first?: number;
  /**
   * cos and sin of a position are multiplied by 1 + beta · ln(1 + ⌊(position + offset) / every⌋). This is the factor on
   * queries in Ministral 3 and Llama 4, where all dimensions are in the tables.
   */
  readonly growth?: { readonly beta: number; readonly every: number; readonly offset?: number };
}

export interface RopeTables {
  readonly cos: Float32Array; // [positions, dimensions / 2]
  readonly sin: Float32Array; // [positions, dimensions / 2]
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
  ntk_alpha: { keys: ["alpha"], read: (p) => ({ type: "ntk_alpha", alpha: p.positiveNumber("alpha") }) },
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
  longrope: {
    keys: ["factor", "original_max_position_embeddings", "attention_factor", "short_factor", "long_factor"],
    read: readLongRope,
  },
  // partial_rotary_factor is not listed: it belongs to other types, too.
  proportional: { keys: ["factor"], read: readProportional },
};

/** A family's differences from Llama in reading its rotation. */
export interface RopeReading {
  /** transformers' default for rope_theta. */
  readonly defaultTheta?: number;
  /** Default of `partial_rotary_factor`. Absent: the key is not read and the whole head rotates. */
  readonly partial?: number;
  /** Names of keys beside the RoPE parameters; absent: rope_theta and partial_rotary_factor. */
  readonly thetaKey?: string;
  readonly partialKey?: string;
  /** Whether "dynamic" with an `alpha` means "ntk_alpha", as in Hunyuan; else `alpha` is not understood. */
  readonly hasAlpha?: boolean;
  /** Whether longrope has `short_mscale` and `long_mscale`, as in Phi 3.5 MoE; else they are not understood. */
  readonly hasMscales?: boolean;
  /** transformers' default RoPE parameters; if it uses them, it ignores `rope_theta`. */
  readonly absent?: Readonly<Record<string, unknown>>;
  /**
   * Whether it is M-RoPE, whose pairs of dimensions turn by the position in time, height or width. A token of text has
   * the same position in all of them, so that it is RoPE.
   */
  readonly hasSections?: boolean;
}

/**
 * Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (transformers 4).
 * @throws UnsupportedModelError for a scaling type that is not understood; keys that are not understood are left unread
 */
export function readRope(config: ModelConfig, headDim: number, reading: RopeReading = {}): Rope {
  const key = config.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const parameters = config.optionalObject(key) ?? (reading.absent && new ModelConfig(reading.absent, key));
  return readRopeFrom(parameters, config, headDim, reading);
}

/**
 * The same for one object of RoPE parameters, where a config has one per layer type.
 * @param parameters undefined: defaults, or keys in `config`
 */
export function readRopeFrom(
  parameters: ModelConfig | undefined,
  config: ModelConfig,
  headDim: number,
  reading: RopeReading = {},
): Rope {
  const { defaultTheta = 10000, thetaKey = "rope_theta", partial, partialKey, hasAlpha = false } = reading;
  const theta = readTheta(parameters, config, thetaKey, defaultTheta);
  const dimensions = partial === undefined ? headDim : readDimensions(parameters, config, headDim, partial, partialKey);
  if (parameters === undefined || parameters.keys().length === 0) {
    return { theta, dimensions, scaling: { type: "default" } };
  }
  const said = parameters.string(parameters.has("rope_type") ? "rope_type" : "type", "default");
  const named = reading.hasSections ? (TYPES_WITH_SECTIONS.get(said) ?? said) : said;
  // 0 counts as absent.
  const isAlpha = hasAlpha && named === "dynamic" && (parameters.raw("alpha") ?? 0) !== 0;
  const type = isAlpha ? "ntk_alpha" : named;
  if (parameters.has("rope_type")) parameters.ignore("type", "rope_type takes its place");
  if (!Object.hasOwn(SCALING_READERS, type)) {
    const known = Object.keys(SCALING_READERS).join(", ");
    throw new UnsupportedModelError(
      `${parameters.nameOf("rope_type")}: RoPE type "${type}" is not supported; supported: ${known}`,
    );
  }
  if (reading.hasSections) readSections(parameters, dimensions);
  // In YaRN's own checkpoints, such as Yarn-Mistral-7b-128k.
  parameters.ignore("finetuned", "says how the checkpoint came to be; neither transformers nor vLLM reads it");
  const reader = SCALING_READERS[type as RopeScaling["type"]];
  const read = reader.read(parameters, config);
  const scaling = reading.hasMscales && read.type === "longrope" ? withMscales(parameters, config, read) : read;
  // transformers ignores keys of another type.
  const others = Object.values(SCALING_READERS).flatMap(({ keys }) => keys);
  for (const key of others) {
    if (!reader.keys.includes(key)) parameters.ignore(key, `RoPE of type ${type} has no use for it`);
  }
  return { theta, dimensions, scaling };
}

/** Names of M-RoPE in older files, and what it is for text. */
const TYPES_WITH_SECTIONS: ReadonlyMap<string, string> = new Map([
  ["mrope", "default"],
  ["xdrope", "dynamic"],
]);

/** @throws CheckpointError when the sections are not those of all pairs, which no position could turn */
function readSections(parameters: ModelConfig, dimensions: number): void {
  for (const key of ["mrope_interleaved", "interleaved"]) {
    parameters.ignore(key, "the order of the pairs: a token of text has the same position in all of them");
  }
  for (const key of ["mrope_section", "xdrope_section"]) {
    const sections = parameters.optionalNumbers(key);
    if (sections === undefined) continue;
    const areWhole = sections.every((pairs) => Number.isSafeInteger(pairs) && pairs >= 0);
    if (areWhole && sections.reduce((sum, pairs) => sum + pairs, 0) === dimensions / 2) continue;
    throw new CheckpointError(
      `${parameters.nameOf(key)}: expected numbers of pairs that add up to ${dimensions / 2}, half of the dimensions that rotate, found ${shortJson(sections)}`,
    );
  }
}

/**
 * Two rotations, of layers without a window and of layers with one, from `rope_parameters` by layer type.
 * @throws CheckpointError when there are parameters, but none for a layer type in use
 */
export function readRopesByWindow(
  config: ModelConfig,
  headDim: number,
  windows: readonly (number | undefined)[],
  readings: Readonly<Record<"full" | "sliding", RopeReading>>,
): readonly [full: Rope, sliding: Rope] {
  const parameters = config.optionalObject("rope_parameters");
  parameters?.ignore("original_max_position_embeddings", "each type of layers has its own");
  const read = (key: string, isUsed: boolean, reading: RopeReading) => {
    if (!isUsed) parameters?.ignore(key, "no layer is of this type");
    const absent = parameters === undefined && reading.absent ? new ModelConfig(reading.absent, key) : undefined;
    return readRopeFrom(isUsed ? (parameters?.object(key) ?? absent) : absent, config, headDim, reading);
  };
  return [
    read("full_attention", windows.includes(undefined), readings.full),
    read(
      "sliding_attention",
      windows.some((window) => window !== undefined),
      readings.sliding,
    ),
  ];
}

function readTheta(
  parameters: ModelConfig | undefined,
  config: ModelConfig,
  key: string,
  defaultTheta: number,
): number {
  if (!parameters?.has("rope_theta")) return config.positiveNumber(key, defaultTheta);
  config.ignore(key, "the one in the RoPE parameters takes its place, as in transformers");
  return parameters.positiveNumber("rope_theta");
}

function readDimensions(
  parameters: ModelConfig | undefined,
  config: ModelConfig,
  headDim: number,
  partial: number,
  besideKey = "partial_rotary_factor",
): number {
  const isInside = parameters?.has("partial_rotary_factor") === true;
  const [where, key] = isInside ? ([parameters, "partial_rotary_factor"] as const) : ([config, besideKey] as const);
  if (isInside) config.ignore(besideKey, "the one in the RoPE parameters takes its place, as in transformers");
  const factor = where.positiveNumber(key, partial);
  const dimensions = Math.floor(headDim * factor);
  if (factor <= 1 && dimensions > 0 && dimensions % 2 === 0) return dimensions;
  throw new CheckpointError(
    `${where.nameOf(key)}: ${factor} of head_dim (${headDim}) must be an even number of dimensions, found ${dimensions}`,
  );
}

function readOriginalMaxPositions(parameters: ModelConfig, config: ModelConfig): number {
  // transformers gives priority to the key outside the RoPE parameters.
  const outer = config.optionalPositiveInteger("original_max_position_embeddings");
  if (outer !== undefined) {
    parameters.ignore("original_max_position_embeddings", "the one outside of the RoPE parameters takes its place");
    return outer;
  }
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
    // To transformers null is false, and absent is true.
    truncate: parameters.boolean("truncate", !parameters.mentions("truncate")),
  };
}

/** LongRoPE (arXiv 2402.13753), as transformers reads it. */
function readLongRope(parameters: ModelConfig, config: ModelConfig): RopeScaling {
  const originalMaxPositions = readOriginalMaxPositions(parameters, config);
  const factor =
    parameters.optionalPositiveNumber("factor") ??
    config.positiveInteger("max_position_embeddings") / originalMaxPositions;
  const grown = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions));
  const factors = (key: string) => {
    const list = parameters.optionalNumbers(key);
    if (list?.every((value) => value > 0)) return list;
    throw new CheckpointError(`${parameters.nameOf(key)}: expected a list of positive numbers`);
  };
  return {
    type: "longrope",
    shortFactors: factors("short_factor"),
    longFactors: factors("long_factor"),
    originalMaxPositions,
    attentionFactor: parameters.optionalPositiveNumber("attention_factor") ?? grown,
  };
}

/**
 * `short_mscale` and `long_mscale` in transformers: the length of the prompt decides by which of the two the rotated
 * values are multiplied; frequencies are always divided by the short factors.
 */
function withMscales(
  parameters: ModelConfig,
  config: ModelConfig,
  scaling: Extract<RopeScaling, { type: "longrope" }>,
): RopeScaling {
  const because = "short_mscale, long_mscale and short_factor are all that is taken";
  for (const key of ["long_factor", "factor", "attention_factor"]) parameters.ignore(key, because);
  config.ignore("max_position_embeddings", because);
  return {
    ...scaling,
    longFactors: scaling.shortFactors,
    attentionFactor: parameters.positiveNumber("short_mscale"),
    longAttentionFactor: parameters.positiveNumber("long_mscale"),
  };
}

function readProportional(parameters: ModelConfig): RopeScaling {
  const share = parameters.number("partial_rotary_factor", 1);
  if (share < 0 || share > 1) {
    throw new CheckpointError(
      `${parameters.nameOf("partial_rotary_factor")}: expected a number from 0 to 1, found ${share}`,
    );
  }
  return { type: "proportional", factor: parameters.positiveNumber("factor", 1), share };
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

/** The same for several rotations: each regime grows with the length, so equal sums mean that all are equal. */
export function ropeRegimes(ropes: readonly Rope[], length: number): number {
  return ropes.reduce((sum, rope) => sum + ropeRegime(rope, length), 0);
}

/**
 * Whether two prompts may share a batch: lengths with equal regimes use the same tables. Only dynamic
 * scaling and longrope depend on the length, and only beyond the trained positions.
 */
export function ropeRegime(rope: Rope, length: number): number {
  const { scaling } = rope;
  switch (scaling.type) {
    case "dynamic":
      return Math.max(length, scaling.maxPositions);
    case "longrope":
      return length > scaling.originalMaxPositions ? 1 : 0;
    default:
      return 0;
  }
}

/** Inverse frequencies, float32, of a prompt of `length` tokens. */
export function inverseFrequencies(rope: Rope, length: number): Float32Array {
  const { scaling, dimensions } = rope;
  const frequencies = new Float32Array(dimensions / 2);
  const base = baseOf(rope, length);
  for (let pair = 0; pair < frequencies.length; pair++) {
    const wave = Math.fround(base ** Math.fround((2 * pair) / dimensions));
    frequencies[pair] = 1 / wave;
  }
  switch (scaling.type) {
    case "default":
    case "dynamic":
    case "ntk_alpha":
      return frequencies;
    case "linear":
      return frequencies.map((frequency) => frequency / scaling.factor);
    case "proportional": {
      const turning = Math.floor(Math.floor(scaling.share * dimensions) / 2);
      return frequencies.map((frequency, pair) => (pair < turning ? frequency / scaling.factor : 0));
    }
    case "llama3":
      return frequencies.map((frequency) => llama3Frequency(frequency, scaling));
    case "yarn":
      return yarnFrequencies(rope, scaling);
    case "longrope": {
      const factors = length > scaling.originalMaxPositions ? scaling.longFactors : scaling.shortFactors;
      return frequencies.map((_, pair) => longRopeFrequency(rope, factors, pair));
    }
  }
}

/** @throws CheckpointError when the pair has no factor */
function longRopeFrequency({ theta, dimensions }: Rope, factors: readonly number[], pair: number): number {
  const factor = factors[pair];
  if (factor === undefined || factors.length !== dimensions / 2) {
    throw new CheckpointError(
      `config.json: longrope needs ${dimensions / 2} factors, one per pair of dimensions, found ${factors.length}`,
    );
  }
  const wave = Math.fround(theta ** Math.fround((2 * pair) / dimensions));
  return 1 / Math.fround(Math.fround(factor) * wave);
}

/** The base of the wavelengths. */
function baseOf({ theta, scaling, dimensions }: Rope, length: number): number {
  switch (scaling.type) {
    case "dynamic":
      return dynamicBase(theta, scaling, dimensions, length);
    case "ntk_alpha":
      return theta * scaling.alpha ** (dimensions / (dimensions - 2));
    default:
      return theta;
  }
}

/** NTK-aware base that grows with the prompt beyond the trained positions. */
function dynamicBase(
  theta: number,
  scaling: Extract<RopeScaling, { type: "dynamic" }>,
  dimensions: number,
  length: number,
): number {
  const ratio = Math.max(length, scaling.maxPositions) / scaling.maxPositions;
  return theta * (scaling.factor * ratio - (scaling.factor - 1)) ** (dimensions / (dimensions - 2));
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
  const { dimensions, theta } = rope;
  const [low, high] = yarnCorrectionRange(rope, scaling);
  return Float32Array.from({ length: dimensions / 2 }, (_, pair) => {
    const wave = Math.fround(theta ** Math.fround((2 * pair) / dimensions));
    const ramp = Math.min(Math.max(Math.fround(Math.fround(pair - low) / Math.fround(high - low)), 0), 1);
    const extrapolated = Math.fround(1 - ramp);
    const extrapolation = Math.fround(1 / wave);
    const interpolation = Math.fround(1 / Math.fround(scaling.factor * wave));
    return Math.fround(interpolation * Math.fround(1 - extrapolated)) + Math.fround(extrapolation * extrapolated);
  });
}

/** The pairs between which frequencies change from extrapolated to interpolated. */
function yarnCorrectionRange(rope: Rope, scaling: Extract<RopeScaling, { type: "yarn" }>): [number, number] {
  const dimensionOf = (rotations: number) =>
    (rope.dimensions * Math.log(scaling.originalMaxPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  const low = dimensionOf(scaling.betaFast);
  const high = dimensionOf(scaling.betaSlow);
  const first = Math.max(scaling.truncate ? Math.floor(low) : low, 0);
  const last = Math.min(scaling.truncate ? Math.ceil(high) : high, rope.dimensions - 1);
  return [first, first === last ? last + 0.001 : last];
}

/** Factor on cos and sin; K in the cache includes it. */
export function ropeAttentionFactor(rope: Rope, length = 0): number {
  const { scaling } = rope;
  if (scaling.type === "longrope" && length > scaling.originalMaxPositions) {
    return scaling.longAttentionFactor ?? scaling.attentionFactor;
  }
  return scaling.type === "yarn" || scaling.type === "longrope" ? scaling.attentionFactor : 1;
}

function growthAt({ growth }: Rope, position: number): number {
  if (growth === undefined) return 1;
  return Math.fround(1 + growth.beta * Math.log(1 + Math.floor((position + (growth.offset ?? 0)) / growth.every)));
}

/** cos and sin of the positions of `length` tokens, from the first on. */
export function ropeTables(rope: Rope, length: number): RopeTables {
  const frequencies = inverseFrequencies(rope, length);
  const attentionFactor = Math.fround(ropeAttentionFactor(rope, length));
  const pairs = frequencies.length;
  const cos = new Float32Array(length * pairs);
  const sin = new Float32Array(length * pairs);
  for (let token = 0; token < length; token++) {
    const position = token + (rope.first ?? 0);
    const factor = attentionFactor * growthAt(rope, position);
    for (let pair = 0; pair < pairs; pair++) {
      const angle = Math.fround(position * (frequencies[pair] ?? 0));
      cos[token * pairs + pair] = Math.fround(Math.cos(angle)) * factor;
      sin[token * pairs + pair] = Math.fround(Math.sin(angle)) * factor;
    }
  }
  return { cos, sin };
}
