// A made-up result of a verification: figures as of a small real model, and what reports must hold out.

import { TGI_3 } from "../../src/checkpoint/output-formats.js";
import type { Fidelity } from "../../src/metrics/cache-fidelity.js";
import type { Verdict, VerdictName } from "../../src/metrics/verdict.js";
import type {
  ArmName,
  ArmResult,
  Continuation,
  GeneratedText,
  GenerationResult,
  LayerFidelity,
  MeasuredCache,
  RetrievalArm,
  RetrievalResult,
  VerifyResult,
} from "../../src/pipeline/verify-result.js";
import type { ReportOrigin } from "../../src/report/verify-html-tables.js";

/** What made a report, and when. */
export const ORIGIN: ReportOrigin = {
  version: "1.2.3",
  runtimeVersion: "1.30.0",
  nodeVersion: "22.1.0",
  date: "2026-11-26 21:50 UTC",
};

function fidelityOf(changes: Partial<Fidelity> = {}): Fidelity {
  return {
    sqnr: 31.52,
    saturatedShare: 0,
    flushedShare: 0.0123,
    saturated: 0,
    elements: 1_572_864,
    absmax: 12.25,
    ...changes,
  };
}

/** Usual ones, one that saturates, one that loses nothing, one that overflowed. */
export const LAYERS: readonly LayerFidelity[] = [
  [{}, { sqnr: 30.9, flushedShare: 1e-7 }],
  [{ sqnr: 8.2, saturated: 31_457, saturatedShare: 0.02, absmax: 9e5 }, {}],
  [{ sqnr: Number.POSITIVE_INFINITY, flushedShare: 0 }, { sqnr: -3.25 }],
  [
    { sqnr: Number.NaN, absmax: Number.NaN },
    { saturated: 1_572_864, saturatedShare: 1 },
  ],
].map(([k, v], layer) => ({ layer, kScale: 0.0273, vScale: 0.5, k: fidelityOf(k), v: fidelityOf(v) }));

interface Figures {
  readonly perplexity?: number;
  readonly error?: number;
  readonly ratio?: readonly [value: number, low: number, high: number];
  readonly kl?: number;
  readonly agreement?: number;
}

const DESCRIPTIONS: Readonly<Record<ArmName, string>> = {
  exact: "float32",
  "16-bit": "bfloat16",
  fp8: "float8_e4m3fn, kv_scale",
  "fp8-at-1": "float8_e4m3fn, scale 1.0",
  e5m2: "float8_e5m2",
};

export function armOf(name: ArmName, figures: Figures = {}): ArmResult {
  const { perplexity = 12.3456, error = 0.1234, ratio = [1, 1, 1], kl = 0, agreement = 1 } = figures;
  const [value, low, high] = ratio;
  return {
    name,
    description: DESCRIPTIONS[name],
    perplexity,
    perplexityError: error,
    perplexityRatio: { value, low, high },
    divergence: { mean: { value: kl, low: kl * 0.9, high: kl * 1.1 }, median: kl / 2, p99: kl * 12, max: kl * 80 },
    agreement,
    agreementInterval: { value: agreement, low: agreement * 0.995, high: Math.min(1, agreement * 1.005) },
    layers: LAYERS,
  };
}

export const ARMS: readonly ArmResult[] = [
  armOf("exact", { ratio: [0.99995, 0.9998, 1.0001], kl: 1.2e-5, agreement: 0.9991 }),
  armOf("16-bit"),
  armOf("fp8", { perplexity: 12.361, ratio: [1.0013, 1.0009, 1.0017], kl: 0.00312, agreement: 0.9812 }),
  armOf("fp8-at-1", { perplexity: 19.2, ratio: [1.56, 1.52, 1.6], kl: 0.44, agreement: 0.71 }),
  armOf("e5m2", { perplexity: 12.5, ratio: [1.0125, 1.011, 1.014], kl: 0.0151, agreement: 0.962 }),
];

/** Of each name, as it would be said. */
export const VERDICTS: Readonly<Record<VerdictName, Verdict>> = {
  ship: verdictOf("ship", { passed: true }),
  "scale-1-does-as-well": verdictOf("scale-1-does-as-well", { passed: true }),
  "keep-layers-in-16-bits": verdictOf("keep-layers-in-16-bits", {
    layers: [1, 3],
    flag: "--kv-cache-dtype-skip-layers 1 3",
  }),
  "too-costly": verdictOf("too-costly"),
  "baseline-broken": verdictOf("baseline-broken"),
  inconclusive: verdictOf("inconclusive", { lacks: ["text"], moreTokens: 12_000 }),
};

function verdictOf(name: VerdictName, changes: Partial<Verdict> = {}): Verdict {
  return {
    name,
    passed: false,
    sentence: `This stands for the sentence of ${name}, which says in so many words what is to be done now.`,
    reasons: [
      "Perplexity: +0.13 % (+0.09 % to +0.17 %).",
      "Mean KL divergence: 0.0312 nats (0.0281 to 0.0343); at most 0.02 nats is allowed, which is a long sentence.",
    ],
    layers: [],
    flag: undefined,
    lacks: [],
    moreTokens: undefined,
    moreValues: undefined,
    ...changes,
  };
}

export function continuationOf(text: string, tokens = 64): Continuation {
  return { text, tokenIds: Array.from({ length: tokens }, (_, index) => index), endedBy: "limit" };
}

/** Texts through caches of one layer. */
export function generationOf(...texts: GeneratedText[]): GenerationResult {
  return { maxNewTokens: 64, texts, bits16: measuredOf("16-bit", 2), fp8: measuredOf("fp8", 1) };
}

function measuredOf(arm: ArmName, bytesPerLayer: number): MeasuredCache {
  const bytesPerTokenByLayer = Array.from({ length: 30 }, () => bytesPerLayer);
  const description = DESCRIPTIONS[arm];
  return {
    ...{ arm, description, storedBy: "steps", storedType: arm === "16-bit" ? "uint16" : "uint8", timesPrompts: false },
    ...{ bytesPerToken: 30 * bytesPerLayer, bytesPerTokenByLayer, tokensPerSecond: 21.5 },
  };
}

export function resultOf(changes: Partial<VerifyResult> = {}): VerifyResult {
  return {
    checkpoint: "/models/Llama-FP8-KV",
    modelType: "llama",
    provider: "cpu",
    computedIn: "float32",
    dtype: "float8_e4m3fn",
    scaleSource: "kv_scale",
    engine: TGI_3,
    baseline: "16-bit",
    data: undefined,
    seed: 0,
    windows: 4,
    tokens: 8196,
    positions: 8192,
    arms: ARMS,
    layerEffects: LAYERS.map(({ layer }) => ({
      layer,
      meanKl: 10 ** -(layer + 2),
      perplexityRatio: 1.001,
      agreement: 0.99,
    })),
    positionBins: [
      { first: 0, end: 64, positions: 256, meanKl: { exact: 1e-5, fp8: 0.002, "fp8-at-1": 0.3 } },
      { first: 64, end: 128, positions: 256, meanKl: { exact: 1e-5, fp8: 0.003, "fp8-at-1": 0.5 } },
    ],
    thresholds: { maxPerplexityIncrease: 0.01, maxKl: 0.02, minAgreement: 0.95, minRetrieval: 0.9 },
    verdict: VERDICTS.ship,
    retrieval: undefined,
    generation: {
      texts: [
        {
          prompt: "The capital of France",
          bits16: continuationOf(" is Paris."),
          fp8: continuationOf(" is Paris."),
          partsAt: undefined,
        },
        {
          prompt: "Count:\n".repeat(40),
          bits16: continuationOf(`\u001B[31m\u0007${"one | two <b>three</b>\r\n".repeat(20)}`),
          fp8: continuationOf("日本語のとても長い文章です。".repeat(12)),
          partsAt: 1,
        },
      ],
      maxNewTokens: 64,
      bits16: measuredOf("16-bit", 768),
      fp8: measuredOf("fp8", 384),
    },
    warnings: [
      "3 windows are shorter than 2,048 tokens, so that long contexts weigh less here than they would in a server.",
      "The checkpoint has no generation_config.json.",
    ],
    ...changes,
  };
}

/** 96 values in eight depths, of which 16 bits miss a few, and scale 1.0 most of the early ones. */
export const RETRIEVAL: RetrievalResult = {
  ...{ texts: 1, tokens: 8190, longest: 8190, lines: 812, values: 96, isTelling: true },
  arms: [
    retrievalArmOf("16-bit", 91, 1, 0.4),
    retrievalArmOf("exact", 91, 1, 0.39),
    retrievalArmOf("fp8", 90, 0.989, 0.42),
    retrievalArmOf("fp8-at-1", 40, 0.44, 5.2),
    retrievalArmOf("e5m2", 88, 0.967, 0.47),
  ],
  depths: Array.from({ length: 8 }, (_, depth) => ({
    ...{ first: depth / 8, end: (depth + 1) / 8, values: 12 },
    found: { "16-bit": 11, exact: 11, fp8: depth === 2 ? 10 : 11, "fp8-at-1": depth, e5m2: 11 },
    nats: { "16-bit": 0.4, exact: 0.39, fp8: 0.41 + 0.002 * depth, "fp8-at-1": 9 - depth, e5m2: 0.47 },
  })),
};

function retrievalArmOf(name: ArmName, found: number, kept: number, nats: number): RetrievalArm {
  const around = (value: number, width: number) => ({ value, low: value - width, high: value + width });
  return {
    ...{ name, found, nats },
    foundShare: around(found / 96, 0.04),
    kept: { value: kept, low: kept - 0.03, high: Math.min(1, kept + 0.03) },
    extraNats: around(nats - 0.4, 0.01),
  };
}

/** What names and texts may hold that means something in XML, Markdown or a terminal. */
export const HOSTILE = 'a<b>&amp;"quoted"\'s|`tick``s`*_]]>\u0000\u001B[31m\uD800 \u{1F600}\uFFFE<!--';

/** Many kinds of results. */
export const VARIANTS: Readonly<Record<string, VerifyResult>> = {
  usual: resultOf(),
  ...Object.fromEntries(Object.values(VERDICTS).map((verdict) => [verdict.name, resultOf({ verdict })])),
  "without scales": resultOf({ scaleSource: undefined, arms: ARMS.filter(({ name }) => name !== "fp8") }),
  "with retrieval": resultOf({ retrieval: RETRIEVAL }),
  "with a model that retrieves nothing": resultOf({
    retrieval: {
      ...RETRIEVAL,
      isTelling: false,
      arms: RETRIEVAL.arms.map((arm) => ({ ...arm, found: 0, kept: { value: Number.NaN, low: 0, high: 1 } })),
    },
  }),
  "without noise floor": resultOf({ arms: ARMS.filter(({ name }) => name !== "exact") }),
  "with the exact arm as the baseline": resultOf({ baseline: "exact" }),
  "with nothing beside": resultOf({
    layerEffects: [],
    positionBins: [],
    generation: undefined,
    warnings: [],
    arms: [armOf("16-bit"), armOf("fp8")],
  }),
  "with huge figures": resultOf({
    arms: [
      armOf("16-bit", { perplexity: 4.2e123, error: 1e122 }),
      armOf("fp8", { perplexity: 99_999.9, error: 12_345.6, ratio: [1.2e12, 1e12, 3e12], kl: 345.678, agreement: 0 }),
      armOf("fp8-at-1", {
        perplexity: 9999.99,
        error: 1234.5,
        ratio: [9.99999, 1.5, 1e99],
        kl: 1e-12,
        agreement: 1e-7,
      }),
      armOf("e5m2", { perplexity: 1, error: 1.234e-7, ratio: [1e-12, 1e-13, 1e-11], kl: -1.234e-17 }),
    ],
  }),
  "with figures that are not numbers": resultOf({
    arms: [
      armOf("16-bit", { error: Number.POSITIVE_INFINITY }),
      armOf("fp8", {
        perplexity: Number.NaN,
        error: Number.NaN,
        ratio: [Number.NaN, Number.NaN, Number.NaN],
        kl: Number.NaN,
        agreement: Number.NaN,
      }),
      armOf("fp8-at-1", { perplexity: Number.POSITIVE_INFINITY, error: Number.NaN, ratio: [Infinity, 0, Infinity] }),
    ],
  }),
  "with hostile texts": resultOf({
    checkpoint: `/models/${HOSTILE}`,
    warnings: [HOSTILE],
    generation: {
      maxNewTokens: 5,
      texts: [{ prompt: HOSTILE, bits16: continuationOf(HOSTILE, 5), fp8: continuationOf("", 1), partsAt: 1 }],
      bits16: measuredOf("16-bit", 2),
      fp8: measuredOf("fp8-at-1", 1),
    },
  }),
};
