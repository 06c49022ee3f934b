// The decoder of an opened checkpoint: joins what its files say with the architectures. Knows no family.

import type { Decoder } from "../architectures/description.js";
import { type DescribeOptions, describeModel } from "../architectures/registry.js";
import { modelOptQuantization } from "../checkpoint/model-opt-file.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";

/** Describes the decoder of a checkpoint, its quantized weights included. @throws as describeModel */
export function describeCheckpoint(
  { config, tensors, modelOpt }: Checkpoint,
  { assumeHarmless }: Pick<DescribeOptions, "assumeHarmless"> = {},
): Decoder {
  return describeModel(config, tensors, { assumeHarmless, modelOpt: modelOptQuantization(modelOpt) });
}
