// The top of the HTML report: what to do, why, and how far each figure is from its limit. Pure.

import { formatCount } from "../counted.js";
import { formatIncrease, formatNats, formatRange, formatShare } from "../metrics/figures.js";
import { checkThresholds, isNoDifference, type Outcome, type ThresholdCheck } from "../metrics/thresholds.js";
import type { ArmResult, VerifyResult } from "../pipeline/verify-result.js";
import { html, Markup, unbroken } from "./html-markup.js";
import { nextStepOf } from "./next-step.js";
import { cacheOf, judgedArm, noiseFloorFor, stateOf, subjectOf, type VerdictState } from "./verify-figures.js";
import { commandParts } from "./wrapped-text.js";

/** The folder's base name. */
export function modelName({ checkpoint }: VerifyResult): string {
  return checkpoint.split(/[\\/]/).findLast((part) => part !== "") ?? checkpoint;
}

/** The verdict, its reasons, the figures against their limits, and the warnings. */
export function verdictHeader(result: VerifyResult): Markup {
  const { verdict, checkpoint, modelType, warnings } = result;
  const { passed, sentence, reasons } = verdict;
  const state = stateOf(verdict);
  const nextStep = nextStepOf(result);
  return html`<header>
<p class="kicker">FP8 KV cache, verified</p>
<h1>${modelName(result)}</h1>
<p class="path"><bdi>${checkpoint}</bdi></p>
<p class="muted">${modelType} · ${cacheOf(result)}</p>
<div class="verdict ${state}" role="group" aria-label="Verdict">
<p class="badge">${verdictIcon(state)}${BADGES[state]}</p>
<p class="sentence">${unbroken(sentence)}</p>
<ul>${reasons.map((reason) => html`<li>${unbroken(reason)}</li>`)}</ul>
<div class="next"><p><strong>What to do now.</strong> ${nextStep.sentence}</p><pre class="flag"><code>${commandMarkup(nextStep.command)}</code></pre></div>
</div>
${limitTiles(result)}
${warnings.map((warning) => html`<p class="warning ${passed ? "calm" : ""}"><strong>${passed ? "Note." : "Warning."}</strong> ${unbroken(warning)}</p>`)}
</header>`;
}

/** A narrow screen breaks it between options alone. */
function commandMarkup(words: readonly string[]): Markup {
  return new Markup(
    commandParts(words)
      .map((part) => html`<span>${part}</span>`.text)
      .join(" "),
  );
}

const BADGES: Readonly<Record<VerdictState, string>> = {
  passed: "Passed",
  failed: "Failed",
  open: "Not decided",
};

/** A tick, a cross, and a question mark. */
const ICONS: Readonly<Record<VerdictState, string>> = {
  passed: "M4 10.5 8 14.5 16 6",
  failed: "M5 5 15 15 M15 5 5 15",
  open: "M6 7.5 C6 2.5 14 2.5 14 7 C14 10 10 9.8 10 13 M10 16.4 V16.6",
};

function verdictIcon(state: VerdictState): Markup {
  return html`<svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><path d="${ICONS[state]}"/></svg>`;
}

/** The judged arm's figures. None when the baseline is broken: they would mean nothing. */
function limitTiles(result: VerifyResult): Markup {
  const subject = subjectOf(result);
  if (subject === undefined || result.verdict.name === "baseline-broken") return new Markup("");
  const noiseFloor = noiseFloorFor(subject, result);
  const checks = checkThresholds(judgedArm(subject, result), result.thresholds, noiseFloor);
  const noDifference = isNoDifference(subject.perplexityRatio, noiseFloor);
  return html`<ul class="tiles" aria-label="Figures of ${subject.name} against their limits">
${checks.map((check) => limitTile(check, tileOf(check, subject, result, noDifference)))}
${memoryTile(result)}
</ul>`;
}

interface Tile {
  readonly title: string;
  readonly value: string;
  readonly range: string;
  /** The used share of the limit: 1 is all of it. */
  readonly used: number;
}

function tileOf(
  { name, measured }: ThresholdCheck,
  arm: ArmResult,
  { thresholds: limits, baseline }: VerifyResult,
  noDifference: boolean,
): Tile {
  const { perplexityRatio: ratio, divergence, agreementInterval: agreement } = arm;
  switch (name) {
    case "perplexity increase":
      return {
        title: `Perplexity against ${baseline}`,
        value: formatIncrease(ratio.value),
        range: noDifference ? "no difference" : formatRange(ratio, formatIncrease),
        used: (ratio.value - 1) / limits.maxPerplexityIncrease,
      };
    case "mean KL divergence":
      return {
        title: "Mean KL divergence, nats",
        value: formatNats(divergence.mean.value),
        range: formatRange(divergence.mean, formatNats),
        used: divergence.mean.value / limits.maxKl,
      };
    case "agreement":
      return {
        title: "Same most likely token",
        value: formatShare(agreement.value),
        range: formatRange(agreement, formatShare),
        used: (1 - agreement.value) / (1 - limits.minAgreement),
      };
    case "retrieval":
      return {
        title: `Values found that ${baseline} finds`,
        value: formatShare(measured.value),
        range: formatRange(measured, formatShare),
        used: (1 - measured.value) / (1 - limits.minRetrieval),
      };
  }
}

const METER_WIDTH = 200;

/** How a figure that is certain, or is not, looks and reads. */
const TILES: Readonly<Record<Outcome, { readonly state: VerdictState; readonly words: string }>> = {
  within: { state: "passed", words: "within the limit" },
  beyond: { state: "failed", words: "beyond the limit" },
  undecided: { state: "open", words: "on either side of the limit" },
};

function limitTile({ limit, outcome }: ThresholdCheck, { title, value, range, used }: Tile): Markup {
  const { state, words } = TILES[outcome];
  const share = outcome === "beyond" ? 1 : Math.min(Math.max(Number.isFinite(used) ? used : 0, 0), 1);
  return html`<li class="tile ${state}">
<span class="tile-title">${title}</span>
<span class="tile-value">${unbroken(value)}</span>
<span class="tile-range">${unbroken(range)}</span>
<svg class="meter" viewBox="0 0 ${METER_WIDTH} 6" preserveAspectRatio="none" aria-hidden="true"><rect class="meter-all" width="${METER_WIDTH}" height="6"/><rect class="meter-used" width="${(share * METER_WIDTH).toFixed(1)}" height="6"/></svg>
<span class="tile-limit">${verdictIcon(state)}${words}: ${unbroken(limit)}</span>
<span class="tile-used">${usedText(used, outcome)}</span>
</li>`;
}

/** What the bar above says. */
function usedText(used: number, outcome: Outcome): string {
  if (outcome === "beyond") return "Bar: all of the limit is used";
  const percent = Number.isFinite(used) ? Math.min(Math.max(used, 0), 1) * 100 : 0;
  const share = percent === 0 || percent >= 1 ? String(Math.round(percent)) : "less than 1";
  return `Bar: ${share}\u00a0% of the limit is used`;
}

function memoryTile({ generation }: VerifyResult): Markup {
  if (generation === undefined) return new Markup("");
  const { bits16, fp8 } = generation;
  return html`<li class="tile">
<span class="tile-title">Cache per token</span>
<span class="tile-value">${formatCount(fp8.bytesPerToken)} <small>bytes</small></span>
<span class="tile-range">${formatCount(bits16.bytesPerToken)} in 16 bits</span>
</li>`;
}
