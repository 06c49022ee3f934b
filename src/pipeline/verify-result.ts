// The result of a verification, from which reports are made. Only types.

import type { ArmMetrics } from "../metrics/arm-metrics.js";
import type { Fidelity } from "../metrics/cache-fidelity.js";
import type { Thresholds, Verdict } from "../metrics/verdict.js";
import type { Float8Name } from "../numerics/float8.js";
import type { GenerationWay } from "./generator.js";

/** exact: float32. 16-bit: the model's dtype. fp8: the checkpoint's scales. fp8-at-1: scale 1.0. e5m2: no scale. */
export type ArmName = "exact" | "16-bit" | "fp8" | "fp8-at-1" | "e5m2";

export interface ArmResult extends ArmMetrics {
  readonly name: ArmName;
  /** Such as "bfloat16" or "float8_e4m3fn, kv_scale". */
  readonly description: string;
  /** By layer. */
  readonly layers: readonly LayerFidelity[];
}

export interface LayerFidelity {
  readonly layer: number;
  readonly kScale: number;
  readonly vScale: number;
  readonly k: Fidelity;
  readonly v: Fidelity;
}

/** The cost of FP8 in one layer alone. */
export interface LayerEffect {
  readonly layer: number;
  readonly meanKl: number;
  readonly perplexityRatio: number;
  readonly agreement: number;
}

/** Mean KL divergence of each arm over positions first ≤ position < end of the windows. */
export interface PositionBin {
  readonly first: number;
  readonly end: number;
  readonly positions: number;
  readonly meanKl: Readonly<Partial<Record<ArmName, number>>>;
}

/** One prompt answered greedily through two caches. */
export interface GeneratedText {
  /** The user's last message, or the text to continue. */
  readonly prompt: string;
  readonly bits16: Continuation;
  readonly fp8: Continuation;
  /** Number of the first token that differs, from 1; undefined when all are equal. */
  readonly partsAt: number | undefined;
}

export interface Continuation {
  /** Without special tokens. */
  readonly text: string;
  /** With the token that ended the text, if one did. */
  readonly tokenIds: readonly number[];
  readonly endedBy: "end-token" | "limit";
}

/** Measurements of a cache that texts were generated through. */
export interface MeasuredCache {
  readonly arm: ArmName;
  /** The arm's description. */
  readonly description: string;
  /** steps: as codes, by this program; loop: by ONNX Runtime's operator GroupQueryAttention. */
  readonly storedBy: GenerationWay;
  /** Such as "uint8" or "float8_e4m3fn". */
  readonly storedType: string;
  /** In all layers. */
  readonly bytesPerToken: number;
  readonly bytesPerTokenByLayer: readonly number[]; // [layers]
  /** Of one text at a time. */
  readonly tokensPerSecond: number;
  /** Whether the time includes reading the prompts: in a loop inside the graph the two cannot be separated. */
  readonly timesPrompts: boolean;
}

export interface GenerationResult {
  /** Largest number of tokens of an answer. */
  readonly maxNewTokens: number;
  readonly texts: readonly GeneratedText[];
  readonly bits16: MeasuredCache;
  readonly fp8: MeasuredCache;
}

export interface VerifyResult {
  /** The folder that was verified. */
  readonly checkpoint: string;
  readonly modelType: string;
  readonly provider: string;
  /** The type of activations and weights while computing, such as "float32". */
  readonly computedIn: string;
  readonly dtype: Float8Name;
  /** The tensors with the scales, such as "kv_scale"; undefined when the checkpoint has none. */
  readonly scaleSource: string | undefined;
  /** The arm that the others are compared with. */
  readonly baseline: ArmName;
  readonly windows: number;
  readonly tokens: number;
  /** Number of positions with a next token, over which metrics are computed. */
  readonly positions: number;
  readonly arms: readonly ArmResult[];
  /** Empty unless asked for. */
  readonly layerEffects: readonly LayerEffect[];
  readonly positionBins: readonly PositionBin[];
  readonly thresholds: Thresholds;
  readonly verdict: Verdict;
  readonly generation: GenerationResult | undefined;
  readonly warnings: readonly string[];
}
