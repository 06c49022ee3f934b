// From the metrics of the arms to the verdict: ship or not, or not enough text to say, and why. Pure; sentences for
// people, a name for machines.

import { counted, nounFor } from "../counted.js";
import type { ArmMetrics } from "./arm-metrics.js";
import type { Interval } from "./block-mean.js";
import { formatLimit, formatNats, formatRange, formatShare } from "./figures.js";
import { byFallingCost, type LayerCost } from "./layers-to-keep.js";
import type { Measured } from "./more-to-decide.js";
import { TELLING_SHARE } from "./retrieval-metrics.js";
import {
  checkThresholds,
  type JudgedArm,
  joinOutcomes,
  type NoiseFloor,
  outcomeOf,
  type ThresholdCheck,
  type Thresholds,
} from "./thresholds.js";
import { whatIsMissing } from "./what-is-missing.js";

export type { Thresholds };

/**
 * What users of a served model rarely notice: 1 % of perplexity, another most likely token at one position in ten, and
 * one value in ten of a long text that is not found any more.
 */
export const VERIFY_DEFAULTS: Thresholds = {
  ...{ maxPerplexityIncrease: 0.01, maxKl: 0.02, minAgreement: 0.9, minRetrieval: 0.9 },
};

/** Of the allowed KL divergence: scale 1.0 does as well where it costs no more than this beside calibrated scales. */
const NEGLIGIBLE_SHARE = 0.05;

export type VerdictName =
  /** Certainly within the thresholds. */
  | "ship"
  /** Certainly within the thresholds, and so is scale 1.0, which is certainly not worse by anything that matters. */
  | "scale-1-does-as-well"
  /** Certainly beyond a threshold, but within them when `layers` stay in 16 bits: that was measured, too. */
  | "keep-layers-in-16-bits"
  /** Certainly beyond a threshold. */
  | "too-costly"
  /** The model does not predict text even without an FP8 cache: no comparison means anything. */
  | "baseline-broken"
  /** The interval of a figure reaches over its limit, and none is beyond: there is too little text to say. */
  | "inconclusive";

export interface Verdict {
  /** For machines. */
  readonly name: VerdictName;
  /** Whether the thresholds are certainly met: decides the exit code. */
  readonly passed: boolean;
  /** One sentence for people. */
  readonly sentence: string;
  /** Which threshold was broken by how much, or what was compared; one sentence each. */
  readonly reasons: readonly string[];
  /** Layers to keep in 16 bits; empty for other verdicts. */
  readonly layers: readonly number[];
  /** How to tell an engine, such as vLLM's flag; undefined for other verdicts. */
  readonly flag: string | undefined;
  /** What an inconclusive verdict has too little of; empty for other verdicts. */
  readonly lacks: readonly ("text" | "values")[];
  /**
   * Of an inconclusive verdict: about how many tokens more would decide it, if they are like those measured. Undefined
   * for other verdicts, and where too few texts say how much they differ.
   */
  readonly moreTokens: number | undefined;
  /** The same of values to retrieve. */
  readonly moreValues: number | undefined;
}

export interface VerdictFacts {
  /** The arm to decide on: fp8, or fp8-at-1 when the checkpoint has no scales. */
  readonly subject: JudgedArm & { readonly name: "fp8" | "fp8-at-1" };
  /** Scale 1.0 beside calibrated scales; extraKl is the paired difference of KL, fp8-at-1 minus fp8. */
  readonly atScale1: (JudgedArm & { readonly extraKl: Interval }) | undefined;
  readonly noiseFloor: NoiseFloor | undefined;
  readonly thresholds: Thresholds;
  /** Tokens of the text, and its passages. */
  readonly text: Measured;
  /** Values that were to be retrieved; 0 without any. */
  readonly retrievalValues?: number | undefined;
  /** Mean negative log-likelihood of the baseline arm, nats. */
  readonly baselineNll: number;
  /** The same for counting tokens: see countModelNll. */
  readonly countModelNll: number;
  /** The paired difference, counting minus the baseline arm: how much better the model is, nats. */
  readonly gainOverCounting: Interval;
  /** Empty unless measured. */
  readonly layerEffects: readonly LayerCost[];
  /** The subject measured again with these layers in 16 bits: see chooseLayersToKeep. */
  readonly withLayersIn16Bits?: (JudgedArm & { readonly layers: readonly number[] }) | undefined;
}

/**
 * Decides. Every verdict but "inconclusive" is about whole intervals, so more text of the same kind contradicts none of
 * them. Only "ship" and "scale-1-does-as-well" pass.
 */
export function decideVerdict(facts: VerdictFacts): Verdict {
  const decided = decide(facts);
  return { ...decided, reasons: [...decided.reasons, ...notJudged(facts)] };
}

/** Whoever asked for retrieval and reads the verdict alone is told that it says nothing of it. */
function notJudged({ subject, retrievalValues = 0 }: VerdictFacts): string[] {
  if (retrievalValues === 0 || subject.retrieval !== undefined) return [];
  return [
    `Retrieval is not judged: without FP8, too, the model finds fewer than ${formatLimit(TELLING_SHARE)} of ${counted(retrievalValues, "value")}.`,
  ];
}

function decide(facts: VerdictFacts): Verdict {
  const { subject, thresholds, noiseFloor, baselineNll, gainOverCounting: gain } = facts;
  // Written so that NaN on either side means a broken baseline.
  if (!Number.isFinite(baselineNll) || Number.isNaN(gain.value) || gain.high <= 0) return brokenBaseline(facts);
  const checks = checkThresholds(subject, thresholds, noiseFloor);
  switch (gain.low > 0 ? joinOutcomes(checks) : "undecided") {
    case "within":
      return passedVerdict(facts, checks);
    case "beyond":
      return failedVerdict(facts, checks);
    case "undecided":
      return inconclusiveVerdict(facts, checks);
  }
}

function brokenBaseline(facts: VerdictFacts): Verdict {
  return {
    ...verdict(
      "baseline-broken",
      "The model does not predict this text even without an FP8 cache: nothing can be said.",
    ),
    reasons: [
      `${needsOf(facts)}.`,
      "Check that the checkpoint is whole, and that the text is in a language that the model knows.",
    ],
  };
}

function needsOf({ baselineNll, countModelNll }: VerdictFacts): string {
  return `It needs ${formatNats(baselineNll)} nats per token; counting the tokens of the text needs ${formatNats(countModelNll)}`;
}

function inconclusiveVerdict(facts: VerdictFacts, checks: readonly ThresholdCheck[]): Verdict {
  const { text, subject, retrievalValues = 0, gainOverCounting: gain } = facts;
  const predicts = gain.low > 0;
  const open = checks.filter(({ outcome }) => outcome === "undecided");
  const others = checks.filter(({ outcome }) => outcome !== "undecided");
  const found = subject.retrieval?.values ?? 0;
  const values = { amount: retrievalValues, observed: found, observations: found };
  const { sentences, ...missing } = whatIsMissing(checks, predicts ? undefined : gain, text, values);
  return {
    ...verdict("inconclusive", "Not enough text to decide: a figure may be on either side of its limit."),
    reasons: [
      ...(predicts ? [] : [`${needsOf(facts)}: too little text to tell whether the model predicts it.`]),
      ...[...open, ...others].map(({ sentence }) => sentence),
      ...sentences,
    ],
    ...missing,
  };
}

function passedVerdict(facts: VerdictFacts, checks: readonly ThresholdCheck[]): Verdict {
  const { subject, atScale1, noiseFloor, thresholds } = facts;
  const kept = checks.map(({ sentence }) => sentence);
  if (subject.name === "fp8-at-1") {
    const sentence = "Ship it: the checkpoint has no scales, and at 1.0 the FP8 cache stays within the thresholds.";
    return { ...verdict("ship", sentence), reasons: kept };
  }
  const ship = verdict("ship", "Ship it: with the checkpoint's scales, the FP8 cache stays within the thresholds.");
  if (atScale1 === undefined) return { ...ship, reasons: kept };
  const others = checkThresholds(atScale1, thresholds, noiseFloor);
  const broken = others.filter(({ outcome }) => outcome === "beyond");
  const open = others.filter(({ outcome }) => outcome === "undecided");
  if (broken.length + open.length > 0) {
    const [word, checksAt1] = broken.length > 0 ? ["would", broken] : ["may", open];
    const reasons = checksAt1.map(({ sentence }) => `At scale 1.0 it ${word} not. ${sentence}`);
    return { ...ship, reasons: [...kept, ...reasons] };
  }
  const { extraKl } = atScale1;
  const negligible = Math.max(noiseFloor?.meanKl ?? 0, NEGLIGIBLE_SHARE * thresholds.maxKl);
  const side = extraKl.value < 0 ? "below" : "above";
  const extra = `mean KL divergence ${formatNats(Math.abs(extraKl.value))} nats ${side} that of the scales (difference ${formatRange(extraKl, formatNats)})`;
  if (extraKl.high <= negligible) {
    const sentence = "Within the thresholds, and scale 1.0 does as well: the scales neither help nor harm.";
    const reason = `Scale 1.0 is not worse by ${formatNats(negligible)} nats, which would matter: ${extra}.`;
    return { ...verdict("scale-1-does-as-well", sentence), reasons: [...kept, reason] };
  }
  const reason =
    extraKl.low > negligible ? "Scale 1.0 is worse" : "Whether scale 1.0 does as well, this text does not tell";
  return { ...ship, reasons: [...kept, `${reason}: ${extra}.`] };
}

function failedVerdict(facts: VerdictFacts, checks: readonly ThresholdCheck[]): Verdict {
  const { subject, atScale1, thresholds, layerEffects, withLayersIn16Bits: kept } = facts;
  const reasons = checks.filter(({ outcome }) => outcome === "beyond").map(({ sentence }) => sentence);
  const at1Passes = atScale1 !== undefined && outcomeOf(atScale1, thresholds) === "within";
  const hints = [
    at1Passes ? hintOfScale1(atScale1.extraKl) : "",
    subject.name === "fp8-at-1" ? "The checkpoint has no scales: calibrate it." : "",
  ].filter((hint) => hint !== "");
  const layers = kept?.layers ?? [];
  const which = `${nounFor(layers.length, "layer")} ${layers.join(", ")}`;
  const keptOutcome = kept === undefined || layers.length === 0 ? "beyond" : outcomeOf(kept, thresholds);
  const keptReason = kept === undefined ? "" : `With ${which} in 16 bits: ${summaryOf(kept.metrics)}.`;
  if (keptOutcome === "within") {
    return {
      ...verdict("keep-layers-in-16-bits", `Do not ship it as it is: keep ${which} in 16 bits.`),
      reasons: [...reasons, keptReason, ...hints],
      layers,
      flag: `--kv-cache-dtype-skip-layers ${layers.join(" ")}`,
    };
  }
  const [costliest] = byFallingCost(layerEffects);
  if (costliest !== undefined)
    reasons.push(
      `Layer ${costliest.layer} costs most: alone, mean KL divergence ${formatNats(costliest.meanKl)} nats.`,
    );
  if (keptOutcome === "undecided") reasons.push(`${keptReason} Too little text to tell whether that is enough.`);
  return {
    ...verdict("too-costly", "Do not ship it: the FP8 cache costs more than the thresholds allow."),
    reasons: [...reasons, ...hints],
  };
}

function summaryOf({ divergence, agreement }: ArmMetrics): string {
  return `mean KL divergence ${formatNats(divergence.mean.value)} nats, the same token at ${formatShare(agreement)}`;
}

/** The advice when scale 1.0 meets the thresholds and the checkpoint's scales do not. */
function hintOfScale1(extraKl: Interval): string {
  return extraKl.high < 0
    ? "Scale 1.0 stays within the thresholds and is measurably better: the scales of the checkpoint are wrong. Calibrate again."
    : "Scale 1.0 stays within the thresholds, but is not measurably better: both are near the limit. More text would tell.";
}

function verdict(name: VerdictName, sentence: string): Verdict {
  const passed = name === "ship" || name === "scale-1-does-as-well";
  return {
    name,
    passed,
    sentence,
    reasons: [],
    layers: [],
    flag: undefined,
    lacks: [],
    moreTokens: undefined,
    moreValues: undefined,
  };
}
