// Reads the sizes of a block of weights that share a scale. Knows no method.

import { CheckpointError } from "../../errors.js";
import { type ModelConfig, shortJson } from "../model-config.js";

/** @throws CheckpointError for anything but two positive integers */
export function readBlockSize(config: ModelConfig, key: string): readonly [outputs: number, inputs: number] {
  const sizes = config.optionalNumbers(key) ?? [];
  const [outputs = 0, inputs = 0] = sizes;
  if (sizes.length === 2 && sizes.every((size) => Number.isSafeInteger(size) && size > 0)) return [outputs, inputs];
  throw new CheckpointError(
    `${config.nameOf(key)}: expected two positive integers, outputs and inputs that share a scale, found ${shortJson(sizes)}`,
  );
}
