// The rotations of decoders whose layers slide or see everything, one for each type: Gemma 3's keys of config.json, as
// transformers 5 nests them and as transformers 4 wrote them. Knows no layer.

import type { ModelConfig } from "./model-config.js";
import { type Rope, readRopeFrom } from "./rope.js";
import type { AttentionType } from "./windows.js";

/** Where `ropesByType` puts each rotation. */
export const ROPE_OF_TYPE: Readonly<Record<AttentionType, number>> = { sliding_attention: 0, full_attention: 1 };

/**
 * `rope_parameters` by type of layer, else `rope_local_base_freq` for layers that slide, and `rope_theta` and `rope_scaling`
 * for the others.
 */
export function ropesByType(config: ModelConfig, headDim: number): readonly [sliding: Rope, full: Rope] {
  const nested = config.optionalObject("rope_parameters");
  const sliding = readRopeFrom(nested?.optionalObject("sliding_attention"), config, headDim, {
    thetaKey: "rope_local_base_freq",
    defaultTheta: 10_000,
  });
  // One beside nested parameters would change them: it stays unread.
  const parameters =
    nested === undefined ? config.optionalObject("rope_scaling") : nested.optionalObject("full_attention");
  return [sliding, readRopeFrom(parameters, config, headDim, { defaultTheta: 1_000_000 })];
}
