// Granite with windows: a window in three of four layers, a sink of each head, a rotation of its own in each layer, or none.

import { CheckpointError } from "../../errors.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { type FamilyInput, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";
import { tensorSource } from "../weight-source.js";
import { slidingWindows, uniformWindow } from "../windows.js";
import { type GraniteLike, graniteLike } from "./granite.js";

export function describeGraniteSwa(input: FamilyInput): Decoder {
  return graniteSwaLike(input, { kvHeads: 4, epsilon: 1e-5, tied: true });
}

/** @param family what it differs in: transformers' defaults, and the block after the attention */
export function graniteSwaLike(
  input: FamilyInput,
  { kvHeads, ...family }: { readonly kvHeads?: number } & Pick<GraniteLike, "epsilon" | "tied" | "feedForward">,
): Decoder {
  const { config } = input;
  const sizes = readSizes(config, kvHeads === undefined ? {} : { kvHeads });
  const windows = slidingWindows(config, sizes.layers, uniformWindow(config, 128), (layer) => layer % 4 !== 0);
  const common = readRope(config, sizes.headDim);
  const ownThetas = readThetas(config, sizes.layers);
  if (ownThetas !== undefined) {
    for (const where of [config, config.has("rope_parameters") ? config.object("rope_parameters") : undefined]) {
      where?.ignore("rope_theta", "layer_rope_theta says it for each layer");
    }
  }
  const thetas = ownThetas ?? Array.from({ length: sizes.layers }, () => common.theta);
  const distinct = [...new Set(thetas)].filter((theta) => theta !== 0);
  const scale = config.positiveNumber("attention_multiplier", 1);
  return graniteLike(input, {
    sizes,
    ropes: distinct.map((theta) => ({ ...common, theta })),
    attention: (layer, index) => {
      const rope = distinct.indexOf(thetas[index] ?? 0);
      const sinks = tensorSource(`${layer.attention}.sinks`, [sizes.heads]);
      return {
        ...(rope >= 0 && { rope: { ...rotateAll(common), rope } }),
        ...{ scale, sinks, window: windows[index] },
      };
    },
    logits: 1 / config.positiveNumber("logits_scaling", 1),
    ...family,
  });
}

/** `layer_rope_theta`, one per layer; 0 and null are none. */
function readThetas(config: ModelConfig, layers: number): number[] | undefined {
  const list = config.raw("layer_rope_theta");
  if (list === undefined) return undefined;
  const thetas = Array.isArray(list) ? list.map((theta: unknown) => theta ?? 0) : [];
  const numbers = thetas.filter((theta): theta is number => typeof theta === "number" && theta >= 0);
  if (numbers.length === layers && thetas.length === layers) return numbers;
  throw new CheckpointError(
    `${config.nameOf("layer_rope_theta")}: expected ${layers} numbers from 0, one per layer, found ${JSON.stringify(list)}`,
  );
}
