// Common parts of a verification's reports: the judged arm, the noise floor, and figures as texts. Pure; knows no
// layout.

import { counted } from "../counted.js";
import type { Interval } from "../metrics/block-mean.js";
import { formatLimit, formatNats, formatShare, nameOf } from "../metrics/figures.js";
import { judgedRetrieval } from "../metrics/retrieval-metrics.js";
import { isNoDifference, type JudgedArm, type NoiseFloor } from "../metrics/thresholds.js";
import type { Verdict } from "../metrics/verdict.js";
import type { ArmName, ArmResult, LayerFidelity, VerifyResult } from "../pipeline/verify-result.js";
import { GENERATED_LIMIT, type Shown, shown } from "./shown-text.js";

/** The result with safe texts; a model's text is cut much later than a name. */
export function shownResult({ generation, ...others }: VerifyResult): Shown<VerifyResult> {
  return { ...shown(others), generation: shown(generation, GENERATED_LIMIT) };
}

/** What a verdict comes to, for words and colours. */
export type VerdictState = "passed" | "failed" | "open";

export function stateOf({ name, passed }: Verdict): VerdictState {
  return passed ? "passed" : name === "inconclusive" ? "open" : "failed";
}

/** The arm that the verdict is about: the checkpoint's scales, or 1.0 when it has none. */
export function subjectOf({ arms }: VerifyResult): ArmResult | undefined {
  return armOf(arms, "fp8") ?? armOf(arms, "fp8-at-1");
}

/** The noise floor: 16 bits against exact, when both were measured and one of them is the baseline. */
export function noiseFloorOf(result: VerifyResult): NoiseFloor | undefined {
  const arm = noiseArmOf(result);
  return arm && { perplexityRatio: arm.perplexityRatio.value, meanKl: arm.divergence.mean.value };
}

/** The noise floor for an arm; none for the arm that is the noise itself. */
export function noiseFloorFor(arm: ArmResult, result: VerifyResult): NoiseFloor | undefined {
  return arm === noiseArmOf(result) ? undefined : noiseFloorOf(result);
}

/** An arm as the thresholds judge it. */
export function judgedArm(arm: ArmResult, { retrieval }: VerifyResult): JudgedArm {
  return { metrics: arm, retrieval: judgedRetrieval(retrieval, arm.name) };
}

function noiseArmOf({ arms, baseline }: VerifyResult): ArmResult | undefined {
  const others: Partial<Record<ArmName, ArmName>> = { "16-bit": "exact", exact: "16-bit" };
  const other = others[baseline];
  return other && armOf(arms, other);
}

function armOf(arms: readonly ArmResult[], name: ArmName): ArmResult | undefined {
  return arms.find((arm) => arm.name === name);
}

/** Metrics of an arm as texts. The baseline has nothing to be compared with. */
export interface ArmFigures {
  readonly perplexity: string;
  readonly ratio: string;
  readonly meanKl: string;
  readonly p99: string;
  readonly agreement: string;
}

export function figuresOf(arm: ArmResult, result: VerifyResult): ArmFigures {
  const { perplexity, perplexityError, perplexityRatio: ratio, divergence, agreement } = arm;
  const own = formatWithError(perplexity, perplexityError);
  if (arm.name === result.baseline)
    return { perplexity: own, ratio: "baseline", meanKl: "–", p99: "–", agreement: "–" };
  return {
    perplexity: own,
    ratio: isNoDifference(ratio, noiseFloorFor(arm, result))
      ? `${formatRatio(ratio.value)}, no difference`
      : formatRatioWithRange(ratio),
    meanKl: formatNats(divergence.mean.value),
    p99: formatNats(divergence.p99),
    agreement: formatShare(agreement),
  };
}

/** The noise floor, if there is one, and the thresholds: rows under the arms, in the same columns. */
export function limitRows(result: VerifyResult): string[][] {
  const { maxPerplexityIncrease, maxKl, minAgreement } = result.thresholds;
  const limits = ["limit", "", `+${formatLimit(maxPerplexityIncrease)}`, String(maxKl), "", formatLimit(minAgreement)];
  const arm = noiseArmOf(result);
  if (arm === undefined) return [limits];
  const { perplexityRatio, divergence, agreement } = arm;
  const difference = `±${formatShare(Math.abs(perplexityRatio.value - 1))}`;
  const { mean, p99 } = divergence;
  return [["noise", "", difference, formatNats(mean.value), formatNats(p99), formatShare(agreement)], limits];
}

const LARGEST_PLAIN = 1e6;

/** "12.345 ± 0.12"; an unknown error, or one of a huge perplexity, is left out. */
function formatWithError(value: number, error: number): string {
  const isMeaningful = Number.isFinite(error) && value < LARGEST_PLAIN;
  return isMeaningful ? `${formatSize(value, 5)} ± ${formatSize(error, 2)}` : formatSize(value, 5);
}

/** "1.0131 (1.0129–1.0133)"; without the interval for a ratio far beyond any limit. */
function formatRatioWithRange(ratio: Interval): string {
  const value = formatRatio(ratio.value);
  return ratio.value < 10 ? `${value} (${formatRatio(ratio.low)}–${formatRatio(ratio.high)})` : value;
}

/** "1.0131" */
function formatRatio(ratio: number): string {
  return ratio < 10 ? ratio.toFixed(4) : formatSize(ratio, 5);
}

/** With this many digits, if it is neither tiny nor huge. */
function formatSize(value: number, digits: number): string {
  if (!Number.isFinite(value)) return nameOf(value);
  if (value !== 0 && (value < 1e-3 || value >= 1e4)) return value.toExponential(1);
  return value >= 10 ** digits ? value.toFixed(0) : value.toPrecision(digits);
}

/** "31.5 dB" */
export function formatDecibels(sqnr: number): string {
  return Number.isFinite(sqnr) ? `${sqnr.toFixed(1)} dB` : `${nameOf(sqnr)} dB`;
}

/** Share of the elements of K and V together. */
export function saturatedShare({ k, v }: LayerFidelity): number {
  return shareOfBoth(k.elements * k.saturatedShare + v.elements * v.saturatedShare, k.elements + v.elements);
}

/** Share of the elements of K and V together. */
export function flushedShare({ k, v }: LayerFidelity): number {
  return shareOfBoth(k.elements * k.flushedShare + v.elements * v.flushedShare, k.elements + v.elements);
}

function shareOfBoth(count: number, elements: number): number {
  return elements === 0 ? 0 : count / elements;
}

/** "llama · 4 windows · 8,192 tokens · cpu · 12.3 s" */
export function summaryOf({ modelType, windows, tokens, provider, computedIn }: VerifyResult, seconds: number): string {
  return [
    modelType,
    counted(windows, "window"),
    counted(tokens, "token"),
    provider === "cpu" ? provider : `${provider}, ${computedIn}`,
    `${seconds.toFixed(1)} s`,
  ].join(" · ");
}

/** "float8_e4m3fn, scales from kv_scale" */
export function cacheOf({ dtype, scaleSource }: VerifyResult): string {
  return `${dtype}, ${scaleSource === undefined ? "no scales: 1.0" : `scales from ${scaleSource}`}`;
}
