// Gemma 3n's AltUp: its streams of hidden states and each layer's part in them, described from config.json. Pure data
// out; reads no files.

import { CheckpointError } from "../errors.js";
import type { Norm } from "./blocks.js";
import type { AltUp, Branch, Streams } from "./description.js";
import { type FamilyInput, linear } from "./parts.js";
import { readParts } from "./sizes.js";
import type { LayerNames } from "./tensor-names.js";
import { tensorSource } from "./weight-source.js";

export interface StreamParts {
  readonly streams: Streams;
  readonly altUp: (layer: LayerNames, last: Branch) => AltUp;
  /** Tensors in the files that nothing reads. */
  readonly unread: (layer: LayerNames) => string[];
}

/** @throws CheckpointError naming the key */
export function readAltUp(
  { config, names }: FamilyInput,
  hidden: number,
  norm: (name: string, size: number) => Norm,
): StreamParts {
  const count = readParts(config, "altup_num_inputs", 4);
  if (count < 2) {
    throw new CheckpointError(`${config.nameOf("altup_num_inputs")}: expected at least 2 streams, found ${count}`);
  }
  const active = config.count("altup_active_idx", 0);
  if (active >= count) {
    throw new CheckpointError(
      `${config.nameOf("altup_active_idx")}: expected a stream below altup_num_inputs (${count}), found ${active}`,
    );
  }
  const isScaled = config.boolean("altup_correct_scale", true);
  config.ignore("altup_coef_clip", "coefficients are clipped in training alone");
  config.ignore("altup_lr_multiplier", "a rate of training");
  const projections = (name: string) =>
    Array.from({ length: count - 1 }, (_, index) => linear(names.of(`${name}.${index}`), hidden, hidden));
  const scaleOf = (layer: LayerNames) => layer.of("altup.correct_output_scale");
  return {
    unread: (layer) => (isScaled ? [] : [scaleOf(layer)]),
    streams: {
      count,
      projections: projections("altup_projections"),
      projectionsBack: projections("altup_unembed_projections"),
    },
    altUp: (layer, last) => ({
      ...{ active, last },
      routerNorm: norm(layer.of("altup.router_norm"), hidden),
      routerMultiplier: 1 / hidden,
      modalities: linear(layer.of("altup.modality_router"), hidden, count),
      prediction: linear(layer.of("altup.prediction_coefs"), count, count * count),
      correction: linear(layer.of("altup.correction_coefs"), count, count),
      ...(isScaled && { lastScale: tensorSource(scaleOf(layer), [hidden]) }),
    }),
  };
}
