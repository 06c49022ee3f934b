// Whether more prompts would change levels by anything that matters: from the forecasts of two rounds of prompts, the second of
// which has the first one's prompts and more. Knows no pipeline, and nothing of prompts.

import { medianOf } from "./median.js";
import type { ServingForecast, ServingLevels } from "./serving-levels.js";

/**
 * Highest over lowest end of the median interval: half of it up and half of it down is 12 %, as much as two neighbouring
 * numbers of E4M3 differ, and a floating format does not notice a scale that is larger by as much.
 */
const NARROW_INTERVAL = 1.25;
/** Of the sides whose new prompts exceed the level of the round before. Levels are exceeded in 5 %, if their model is right. */
const MOST_EXCEEDED = 0.1;

/**
 * Enough: the intervals are narrow, and the prompts that were added kept to the levels that had been forecast without them,
 * so the kinds of text are known.
 * @param previous the same question asked of fewer prompts
 */
export function isEnough(previous: ServingForecast, latest: ServingForecast): boolean {
  if (previous.kind === "too-few" || latest.kind === "too-few") return false;
  return typicalWidth(latest) <= NARROW_INTERVAL && shareExceeded(previous, latest) <= MOST_EXCEEDED;
}

/** The median of highest over lowest end of an interval; 1 where everything is zero. */
function typicalWidth({ levels }: ServingLevels): number {
  return medianOf(levels.map(({ interval: [low, high] }) => (low === 0 ? 1 : high / low)));
}

function shareExceeded(previous: ServingLevels, latest: ServingLevels): number {
  const exceeded = latest.levels.filter(({ measured }, side) => measured > (previous.levels[side]?.level ?? 0));
  return exceeded.length / latest.levels.length;
}
