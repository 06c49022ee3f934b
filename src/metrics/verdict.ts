// From the metrics of the arms to the verdict: ship or not, and why. Pure; sentences for people, a name for machines.

import { nounFor } from "../counted.js";
import type { ArmMetrics } from "./arm-metrics.js";
import type { Interval } from "./block-mean.js";
import { formatNats, formatRange, formatShare } from "./figures.js";
import { checkThresholds, keepsThresholds, type NoiseFloor, type Thresholds } from "./thresholds.js";

export type { Thresholds };

/**
 * What users of a served model rarely notice: 1 % of perplexity, and another most likely token at one position in ten.
 */
export const VERIFY_DEFAULTS: Thresholds = { maxPerplexityIncrease: 0.01, maxKl: 0.02, minAgreement: 0.9 };

/** With a larger share of layers in 16 bits, an FP8 cache saves little. */
const LARGEST_KEPT_SHARE = 0.25;

export type VerdictName =
  /** Calibrated scales are within the thresholds, and better than 1.0 or without it to compare with. */
  | "ship"
  /** Within the thresholds, and so is scale 1.0, which is not measurably worse. */
  | "scale-1-does-as-well"
  /** Beyond the thresholds, but within them when `layers` stay in 16 bits: that was measured, too. */
  | "keep-layers-in-16-bits"
  /** Beyond the thresholds. */
  | "too-costly"
  /** The model does not predict text even without an FP8 cache: no comparison means anything. */
  | "baseline-broken";

export interface Verdict {
  /** For machines. */
  readonly name: VerdictName;
  /** Whether the thresholds are met: decides the exit code. */
  readonly passed: boolean;
  /** One sentence for people. */
  readonly sentence: string;
  /** Which threshold was broken by how much, or what was compared; one sentence each. */
  readonly reasons: readonly string[];
  /** Layers to keep in 16 bits; empty for other verdicts. */
  readonly layers: readonly number[];
  /** How to tell an engine, such as vLLM's flag; undefined for other verdicts. */
  readonly flag: string | undefined;
}

/** What FP8 in one layer alone costs. */
export interface LayerCost {
  readonly layer: number;
  readonly meanKl: number;
}

export interface VerdictFacts {
  /** The arm to decide on: fp8, or fp8-at-1 when the checkpoint has no scales. */
  readonly subject: { readonly name: "fp8" | "fp8-at-1"; readonly metrics: ArmMetrics };
  /** Scale 1.0 beside calibrated scales; extraKl is the paired difference of KL, fp8-at-1 minus fp8. */
  readonly atScale1: { readonly metrics: ArmMetrics; readonly extraKl: Interval } | undefined;
  readonly noiseFloor: NoiseFloor | undefined;
  readonly thresholds: Thresholds;
  /** Mean negative log-likelihood of the baseline arm, nats. */
  readonly baselineNll: number;
  /** The same for counting tokens: see countModelNll. */
  readonly countModelNll: number;
  /** Empty unless measured. */
  readonly layerEffects: readonly LayerCost[];
  /** The subject measured again with these layers in 16 bits: see chooseLayersToKeep. */
  readonly withLayersIn16Bits?: { readonly layers: readonly number[]; readonly metrics: ArmMetrics } | undefined;
}

/** Decides. The rules, in this order, are those of VerdictName; only "ship" and "scale-1-does-as-well" pass. */
export function decideVerdict(facts: VerdictFacts): Verdict {
  // Written so that NaN on either side means a broken baseline.
  if (!(Number.isFinite(facts.baselineNll) && facts.baselineNll < facts.countModelNll)) return brokenBaseline(facts);
  return keepsThresholds(facts.subject.metrics, facts.thresholds) ? passedVerdict(facts) : failedVerdict(facts);
}

function brokenBaseline({ baselineNll, countModelNll }: VerdictFacts): Verdict {
  return {
    ...verdict(
      "baseline-broken",
      "The model does not predict this text even without an FP8 cache: nothing can be said.",
    ),
    reasons: [
      `It needs ${formatNats(baselineNll)} nats per token; counting the tokens of the text needs ${formatNats(countModelNll)}.`,
      "Check that the checkpoint is whole, and that the text is in a language that the model knows.",
    ],
  };
}

function passedVerdict({ subject, atScale1, noiseFloor, thresholds }: VerdictFacts): Verdict {
  const kept = checkThresholds(subject.metrics, thresholds, noiseFloor).map(({ sentence }) => sentence);
  if (subject.name === "fp8-at-1") {
    const sentence = "Ship it: the checkpoint has no scales, and at 1.0 the FP8 cache stays within the thresholds.";
    return { ...verdict("ship", sentence), reasons: kept };
  }
  const ship = verdict("ship", "Ship it: with the checkpoint's scales, the FP8 cache stays within the thresholds.");
  if (atScale1 === undefined) return { ...ship, reasons: kept };
  const { extraKl, metrics } = atScale1;
  const broken = checkThresholds(metrics, thresholds, noiseFloor).filter(({ passed }) => !passed);
  if (broken.length > 0) {
    const reasons = broken.map(({ sentence }) => `At scale 1.0 it would not. ${sentence}`);
    return { ...ship, reasons: [...kept, ...reasons] };
  }
  const side = extraKl.value < 0 ? "below" : "above";
  const extra = `mean KL divergence ${formatNats(Math.abs(extraKl.value))} nats ${side} that of the scales (difference ${formatRange(extraKl, formatNats)})`;
  if (extraKl.low > 0 && !(noiseFloor !== undefined && extraKl.value <= noiseFloor.meanKl))
    return { ...ship, reasons: [...kept, `Scale 1.0 is worse: ${extra}.`] };
  const sentence = "Within the thresholds, and scale 1.0 does as well: the scales neither help nor harm.";
  const reason = `Scale 1.0 is not measurably worse: ${extra}.`;
  return { ...verdict("scale-1-does-as-well", sentence), reasons: [...kept, reason] };
}

function failedVerdict(facts: VerdictFacts): Verdict {
  const { subject, atScale1, noiseFloor, thresholds, layerEffects, withLayersIn16Bits: kept } = facts;
  const broken = checkThresholds(subject.metrics, thresholds, noiseFloor).filter(({ passed }) => !passed);
  const reasons = broken.map(({ sentence }) => sentence);
  const at1Passes = atScale1 !== undefined && keepsThresholds(atScale1.metrics, thresholds);
  const hints = [
    at1Passes ? hintOfScale1(atScale1.extraKl) : "",
    subject.name === "fp8-at-1" ? "The checkpoint has no scales: calibrate it." : "",
  ].filter((hint) => hint !== "");
  if (kept !== undefined && kept.layers.length > 0 && keepsThresholds(kept.metrics, thresholds)) {
    const { divergence, agreement } = kept.metrics;
    const which = `${nounFor(kept.layers.length, "layer")} ${kept.layers.join(", ")}`;
    return {
      ...verdict("keep-layers-in-16-bits", `Do not ship it as it is: keep ${which} in 16 bits.`),
      reasons: [
        ...reasons,
        `With ${which} in 16 bits: mean KL divergence ${formatNats(divergence.mean.value)} nats, the same token at ${formatShare(agreement)}.`,
        ...hints,
      ],
      layers: kept.layers,
      flag: `--kv-cache-dtype-skip-layers ${kept.layers.join(" ")}`,
    };
  }
  const [costliest] = byFallingCost(layerEffects);
  if (costliest !== undefined)
    reasons.push(
      `Layer ${costliest.layer} costs most: alone, mean KL divergence ${formatNats(costliest.meanKl)} nats.`,
    );
  return {
    ...verdict("too-costly", "Do not ship it: the FP8 cache costs more than the thresholds allow."),
    reasons: [...reasons, ...hints],
  };
}

/** The advice when scale 1.0 meets the thresholds and the checkpoint's scales do not. */
function hintOfScale1(extraKl: Interval): string {
  return extraKl.high < 0
    ? "Scale 1.0 stays within the thresholds and is measurably better: the scales of the checkpoint are wrong. Calibrate again."
    : "Scale 1.0 stays within the thresholds, but is not measurably better: both are near the limit. More text would tell.";
}

function verdict(name: VerdictName, sentence: string): Verdict {
  const passed = name === "ship" || name === "scale-1-does-as-well";
  return { name, passed, sentence, reasons: [], layers: [], flag: undefined };
}

/**
 * Layers to keep in 16 bits when a threshold is exceeded: the costliest ones, until the others are within the KL
 * threshold. The KL of single layers adds up only roughly, so their sum is scaled to the KL of all together. At least
 * one layer, because another threshold may be exceeded. Whether they suffice has to be measured.
 * @param subjectMeanKl mean KL with FP8 in all layers
 * @returns layer numbers, ascending; undefined when they would be more than a quarter of all
 */
export function chooseLayersToKeep(
  layerEffects: readonly LayerCost[],
  subjectMeanKl: number,
  { maxKl }: Thresholds,
): readonly number[] | undefined {
  const falling = byFallingCost(layerEffects);
  const total = sumOf(falling);
  const scale = Number.isFinite(subjectMeanKl) && Number.isFinite(total) && total > 0 ? subjectMeanKl / total : 1;
  let count = 1;
  while (count < falling.length && !(sumOf(falling.slice(count)) * scale <= maxKl)) count++;
  if (count > layerEffects.length * LARGEST_KEPT_SHARE) return undefined;
  return falling
    .slice(0, count)
    .map(({ layer }) => layer)
    .sort((a, b) => a - b);
}

/** A layer with a cost of NaN breaks the model: it comes first. */
function byFallingCost(layerEffects: readonly LayerCost[]): LayerCost[] {
  const costOf = ({ meanKl }: LayerCost) => (Number.isNaN(meanKl) ? Number.POSITIVE_INFINITY : meanKl);
  return layerEffects.toSorted((a, b) => (costOf(a) === costOf(b) ? a.layer - b.layer : costOf(b) - costOf(a)));
}

function sumOf(effects: readonly LayerCost[]): number {
  return effects.reduce((sum, { meanKl }) => sum + meanKl, 0);
}
