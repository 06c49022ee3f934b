// Rotations by layer type (sliding or full attention): the keys of config.json as transformers 5 nests them, and Gemma
// 3's as transformers 4 wrote them. Knows no layer.

import { CheckpointError } from "../errors.js";
import type { ModelConfig } from "./model-config.js";
import { type Rope, readRopeFrom } from "./rope.js";
import type { Sizes } from "./sizes.js";
import type { AttentionType } from "./windows.js";

/** The index that `ropesByType` gives each rotation. */
export const ROPE_OF_TYPE: Readonly<Record<AttentionType, number>> = { sliding_attention: 0, full_attention: 1 };

/**
 * `rope_parameters` by layer type, else `rope_local_base_freq` for sliding layers, and `rope_theta` and `rope_scaling`
 * for the others.
 */
export function ropesByType(config: ModelConfig, headDim: number): readonly [sliding: Rope, full: Rope] {
  const nested = config.optionalObject("rope_parameters");
  const sliding = readRopeFrom(nested?.optionalObject("sliding_attention"), config, headDim, {
    thetaKey: "rope_local_base_freq",
    defaultTheta: 10_000,
  });
  // Beside nested parameters it would change them, so it is left unread and refused.
  const parameters =
    nested === undefined ? config.optionalObject("rope_scaling") : nested.optionalObject("full_attention");
  return [sliding, readRopeFrom(parameters, config, headDim, { defaultTheta: 1_000_000 })];
}

/** Rotations of layer types with different head sizes, and the rotation of each layer. */
export interface RopesOfLayers {
  readonly ropes: readonly Rope[];
  readonly ropeOf: (layer: number) => { readonly index: number; readonly rope: Rope };
}

/**
 * `rope_parameters` by layer type; every type in use must be there.
 * @param defaults of transformers
 * @throws CheckpointError when layers of one type differ in head_dim
 */
export function ropesByTypeAndSize(
  config: ModelConfig,
  types: readonly AttentionType[],
  sizes: readonly Sizes[],
  defaults: (type: AttentionType, headDim: number) => Rope,
): RopesOfLayers {
  const nested = config.optionalObject("rope_parameters");
  const used = [...new Set(types)];
  for (const type of ["sliding_attention", "full_attention"] as const) {
    if (!used.includes(type)) nested?.ignore(type, "no layer is of this type");
  }
  const ropes = used.map((type) => {
    const headDims = new Set(sizes.filter((_, layer) => types[layer] === type).map(({ headDim }) => headDim));
    const [headDim = 0, other] = headDims;
    if (other !== undefined) {
      throw new CheckpointError(
        `config.json: layers of type "${type}" have a head_dim of ${headDim} and of ${other}: a rotation has one`,
      );
    }
    return nested === undefined ? defaults(type, headDim) : readRopeFrom(nested.object(type), config, headDim);
  });
  const ropeOf = (layer: number) => {
    const index = used.indexOf(types[layer] ?? "full_attention");
    const rope = ropes[index];
    if (rope === undefined) throw new RangeError(`no layer ${layer}`);
    return { index, rope };
  };
  return { ropes, ropeOf };
}
