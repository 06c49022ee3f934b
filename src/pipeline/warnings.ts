// What a user should know about the ranges and scales of a run, as sentences. Pure: decides, prints nothing.

import type { Modality } from "../architectures/wrappers.js";
import { OUTPUT_FORMATS, type OutputFormat, type OutputFormatName } from "../checkpoint/output-formats.js";
import { counted } from "../counted.js";
import type { EndOfRounds } from "../numerics/end-of-rounds.js";
import { type ExpertTokens, unreachedExperts } from "../numerics/expert-tokens.js";
import { layerNames } from "../numerics/layer-names.js";
import { type LayerRange, riseInLastQuarter } from "../numerics/ranges.js";
import type { LayerScales } from "../numerics/scales.js";
import type { ReadData } from "./read-data.js";
import type { OpenedTokenizer } from "./tokenizer-process.js";

/** More than this in the last quarter of the tokens, and more prompts would raise the absmax further. */
const LARGE_RISE = 0.05;
/** E4M3 has 16 binades of normal values; from four lost ones on, V's small values fall among the subnormals. */
const LARGE_LOSS_IN_BINADES = 4;

export interface WarningFacts {
  readonly ranges: readonly LayerRange[];
  readonly scales: readonly LayerScales[];
  readonly experts: readonly ExpertTokens[];
  readonly format: OutputFormatName;
  readonly headroom: number | "auto";
  /** What ended the rounds, with `samples: "auto"`. */
  readonly rounds: EndOfRounds | undefined;
  /** Token count per prompt, in calibration order. */
  readonly tokens: readonly number[];
  readonly truncatedPrompts: number;
  readonly sequenceLength: number;
  /** Kinds of tokens that prompts can hold and the calibration did not see. */
  readonly notMeasured: readonly Modality[];
}

/** Warnings on ranges and scales, the most important first. */
export function warningsOf(facts: WarningFacts): string[] {
  const format: OutputFormat = OUTPUT_FORMATS[facts.format];
  return [
    ...silentLayers(facts),
    ...endlessRounds(facts),
    // Levels already leave room for what prompts have not shown.
    ...(facts.headroom === "auto" ? [] : growingLayers(facts)),
    ...expertsWithoutTokens(facts),
    ...(format.sharesScale ? unequalLayers(facts) : []),
    ...truncated(facts),
    ...unseenTokens(facts),
  ];
}

/** What became of prompts that are not as they might be expected. */
export function promptWarnings(
  { prompts, warnings }: Pick<ReadData, "prompts" | "warnings">,
  { templatePath, special }: Pick<OpenedTokenizer, "templatePath" | "special">,
): string[] {
  const hasChats = prompts.some((prompt) => "messages" in prompt);
  const hasTexts = prompts.some((prompt) => "text" in prompt);
  const isTranscribed = hasChats && templatePath === undefined;
  return [
    ...warnings,
    ...(isTranscribed ? ["The checkpoint has no chat template: conversations were given as transcripts."] : []),
    // A template writes the special tokens itself.
    ...(special.warning !== undefined && (hasTexts || isTranscribed) ? [special.warning] : []),
  ];
}

function silentLayers({ ranges }: WarningFacts): string[] {
  return (["k", "v"] as const).flatMap((side) => {
    const silent = ranges.filter((range) => range[side].absmax === 0).map(({ layer }) => layer);
    if (silent.length === 0) return [];
    return `${layerNames(silent)}: ${side.toUpperCase()} is zero for every token, so the scale is 1. Are the weights complete?`;
  });
}

function endlessRounds({ rounds, tokens }: WarningFacts): string[] {
  if (rounds === undefined || rounds.isEnough) return [];
  return [
    `--samples auto measured all ${counted(tokens.length, "prompt")}, and more would still change the levels of serving. Give more prompts (--data).`,
  ];
}

function growingLayers({ ranges, tokens }: WarningFacts): string[] {
  const rises = ranges.map(({ layer, k, v }) => ({
    layer,
    rise: Math.max(riseInLastQuarter(k.perPrompt, tokens), riseInLastQuarter(v.perPrompt, tokens)),
  }));
  const growing = rises.filter(({ rise }) => rise > LARGE_RISE);
  if (growing.length === 0) return [];
  const largest = Math.max(...growing.map(({ rise }) => rise));
  return [
    `${layerNames(growing.map(({ layer }) => layer))}: the absmax still rose by up to ${percent(largest)} in the last quarter of the tokens. Give more prompts (--data, --samples) or --headroom auto.`,
  ];
}

/** What an expert adds is in the hidden states that all later layers read. */
function expertsWithoutTokens({ experts }: WarningFacts): string[] {
  const layers = experts.map((layer) => ({
    layer: layer.layer,
    of: layer.tokens.length,
    idle: unreachedExperts(layer),
  }));
  const affected = layers.filter(({ idle }) => idle > 0);
  const [most] = affected.toSorted((a, b) => b.idle - a.idle);
  if (most === undefined) return [];
  const which = `layer ${most.layer}: ${most.idle} of ${most.of} experts`;
  const named =
    affected.length === 1
      ? `${which[0]?.toUpperCase()}${which.slice(1)}`
      : `${layerNames(affected.map(({ layer }) => layer))}, most in ${which}`;
  return [
    `${named} computed no token of the prompts. What they would add is missing in the ranges of later layers: use more prompts (--data, --samples).`,
  ];
}

function unequalLayers({ scales }: WarningFacts): string[] {
  const losses = scales.map(({ layer, kvScale, vScale }) => ({ layer, binades: Math.log2(kvScale / vScale) }));
  const unequal = losses.filter(({ binades }) => binades > LARGE_LOSS_IN_BINADES);
  if (unequal.length === 0) return [];
  const largest = Math.max(...unequal.map(({ binades }) => binades));
  return [
    `${layerNames(unequal.map(({ layer }) => layer))}: one kv_scale for both costs V up to ${largest.toFixed(1)} powers of two of its range. --format tgi-separate or vllm keep them apart.`,
  ];
}

function truncated({ truncatedPrompts, sequenceLength }: WarningFacts): string[] {
  if (truncatedPrompts === 0) return [];
  const were = truncatedPrompts === 1 ? "was" : "were";
  return [
    `${counted(truncatedPrompts, "prompt")} ${were} cut to ${counted(sequenceLength, "token")} (--sequence-length).`,
  ];
}

function unseenTokens({ notMeasured }: WarningFacts): string[] {
  if (notMeasured.length === 0) return [];
  return [
    `Only text was measured: K and V of ${notMeasured.join(" and ")} tokens may be larger. --headroom leaves room for them.`,
  ];
}

function percent(fraction: number): string {
  return `${(fraction * 100).toFixed(1)} %`;
}
