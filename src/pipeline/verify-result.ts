// The result of a verification, from which reports are made. Only types.

import type { EngineCommand } from "../checkpoint/output-formats.js";
import type { ArmMetrics } from "../metrics/arm-metrics.js";
import type { Fidelity } from "../metrics/cache-fidelity.js";
import type { RetrievalMetrics } from "../metrics/retrieval-metrics.js";
import type { Thresholds, Verdict } from "../metrics/verdict.js";
import type { Float8Name } from "../numerics/float8.js";
import type { GenerationWay } from "./generator.js";

/** exact: float32. 16-bit: the model's dtype. fp8: the checkpoint's scales. fp8-at-1: scale 1.0. e5m2: no scale. */
export type ArmName = "exact" | "16-bit" | "fp8" | "fp8-at-1" | "e5m2";

export interface ArmResult extends ArmMetrics {
  /** Which cache. */
  readonly name: ArmName;
  /** Such as "bfloat16" or "float8_e4m3fn, kv_scale". */
  readonly description: string;
  /** By layer. */
  readonly layers: readonly LayerFidelity[];
}

export interface LayerFidelity {
  /** Number of the decoder layer, from 0. */
  readonly layer: number;
  /** What K was divided by. */
  readonly kScale: number;
  /** What V was divided by. */
  readonly vScale: number;
  /** How exactly the cache keeps K. */
  readonly k: Fidelity;
  /** How exactly the cache keeps V. */
  readonly v: Fidelity;
}

/** The cost of FP8 in one layer alone. */
export interface LayerEffect {
  /** Number of the decoder layer, from 0. */
  readonly layer: number;
  /** Mean KL divergence from the baseline, nats per token. */
  readonly meanKl: number;
  /** Perplexity divided by the baseline's. */
  readonly perplexityRatio: number;
  /** Share of positions whose most likely token is the baseline's. */
  readonly agreement: number;
}

/** Mean KL divergence of each arm over positions first ≤ position < end of the windows. */
export interface PositionBin {
  /** First position of the bin. */
  readonly first: number;
  /** The position after its last. */
  readonly end: number;
  /** Number of positions in it, over all windows. */
  readonly positions: number;
  /** By arm, nats per token. */
  readonly meanKl: Readonly<Partial<Record<ArmName, number>>>;
}

/** What was retrieved through one cache. */
export interface RetrievalArm extends RetrievalMetrics {
  /** Which cache. */
  readonly name: ArmName;
}

/** Values that a part of the texts says, from first ≤ depth < end. */
export interface RetrievalDepth {
  /** Where the part begins: 0 is the beginning of a text. */
  readonly first: number;
  /** Where it ends: 1 is where the questions begin. */
  readonly end: number;
  /** Values that were asked for. */
  readonly values: number;
  /** By arm, how many of them were found. */
  readonly found: Readonly<Partial<Record<ArmName, number>>>;
  /** By arm, the mean negative log-likelihood of a value, nats. */
  readonly nats: Readonly<Partial<Record<ArmName, number>>>;
}

/** Long texts that ask for what they said, through every cache. */
export interface RetrievalResult {
  /** Number of texts. */
  readonly texts: number;
  /** Tokens of all of them. */
  readonly tokens: number;
  /** Tokens of the longest. */
  readonly longest: number;
  /** Lines with a name and a value, in all of them. */
  readonly lines: number;
  /** Values that they ask for. */
  readonly values: number;
  /** Whether the baseline finds enough of them to say something about the others. */
  readonly isTelling: boolean;
  /** Every cache, the baseline first. */
  readonly arms: readonly RetrievalArm[];
  /** From the beginning of the texts to the questions. */
  readonly depths: readonly RetrievalDepth[];
}

/** One prompt answered greedily through two caches. */
export interface GeneratedText {
  /** The user's last message, or the text to continue. */
  readonly prompt: string;
  /** The answer through the 16-bit cache. */
  readonly bits16: Continuation;
  /** The answer through the FP8 cache. */
  readonly fp8: Continuation;
  /** Number of the first token that differs, from 1; undefined when all are equal. */
  readonly partsAt: number | undefined;
}

export interface Continuation {
  /** Without special tokens. */
  readonly text: string;
  /** With the token that ended the text, if one did. */
  readonly tokenIds: readonly number[];
  /** Why it ends: the model ended it, or it has as many tokens as were allowed. */
  readonly endedBy: "end-token" | "limit";
}

/** Measurements of a cache that texts were generated through. */
export interface MeasuredCache {
  /** Which cache. */
  readonly arm: ArmName;
  /** The arm's description. */
  readonly description: string;
  /** steps: as codes, by this program; loop: by ONNX Runtime's operator GroupQueryAttention. */
  readonly storedBy: GenerationWay;
  /** Such as "uint8" or "float8_e4m3fn". */
  readonly storedType: string;
  /** In all layers. */
  readonly bytesPerToken: number;
  /** The same of each layer. */
  readonly bytesPerTokenByLayer: readonly number[]; // [layers]
  /** Of one text at a time. */
  readonly tokensPerSecond: number;
  /** Whether the time includes reading the prompts: in a loop inside the graph the two cannot be separated. */
  readonly timesPrompts: boolean;
}

export interface GenerationResult {
  /** Largest number of tokens of an answer. */
  readonly maxNewTokens: number;
  /** Every prompt with its answers. */
  readonly texts: readonly GeneratedText[];
  /** What the 16-bit cache stored. */
  readonly bits16: MeasuredCache;
  /** What the FP8 cache stored. */
  readonly fp8: MeasuredCache;
}

export interface VerifyResult {
  /** The folder that was verified. */
  readonly checkpoint: string;
  /** `model_type` of config.json; of a multimodal model, that of its decoder. */
  readonly modelType: string;
  /** Where it was computed. */
  readonly provider: string;
  /** The type of activations and weights while computing, such as "float32". */
  readonly computedIn: string;
  /** FP8 format of the cache. */
  readonly dtype: Float8Name;
  /** The tensors with the scales, such as "kv_scale"; undefined when the checkpoint has none. */
  readonly scaleSource: string | undefined;
  /** One that serves the checkpoint with these scales; undefined when it has none, or no engine is known to. */
  readonly engine: EngineCommand | undefined;
  /** The arm that the others are compared with. */
  readonly baseline: ArmName;
  /** The text that was used, as the option names it; undefined for the held-out text of the package. */
  readonly data: string | undefined;
  /** Which texts, when there are more. */
  readonly seed: number;
  /** Number of windows that the text was cut into. */
  readonly windows: number;
  /** Number of tokens in them. */
  readonly tokens: number;
  /** Number of positions with a next token, over which metrics are computed. */
  readonly positions: number;
  /** Every cache that was compared. */
  readonly arms: readonly ArmResult[];
  /** Empty unless asked for. */
  readonly layerEffects: readonly LayerEffect[];
  /** How the divergence goes along the windows. */
  readonly positionBins: readonly PositionBin[];
  /** What the verdict allows. */
  readonly thresholds: Thresholds;
  /** Whether the cache may be used, and why. */
  readonly verdict: Verdict;
  /** What was retrieved from long texts; undefined unless asked for. */
  readonly retrieval: RetrievalResult | undefined;
  /** What was generated; undefined unless asked for. */
  readonly generation: GenerationResult | undefined;
  /** What a person should know, a sentence or more each. */
  readonly warnings: readonly string[];
}
