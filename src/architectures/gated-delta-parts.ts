// Parts of families with gated DeltaNet in most layers: its sizes under Qwen's keys, which layers have it, and the block
// from its tensors. Pure data out; knows no attention.

import { CheckpointError } from "../errors.js";
import type { ConvolvedProjection, GatedDeltaNet, Linear, RmsNorm } from "./blocks.js";
import type { ModelConfig } from "./model-config.js";
import { linear } from "./parts.js";
import { readParts } from "./sizes.js";
import { tensorSource, type WeightSource } from "./weight-source.js";
import { layerTypes } from "./windows.js";

/** Sizes of gated DeltaNet. */
export interface DeltaSizes {
  readonly hidden: number;
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Of the convolutions: how many tokens one sees. */
  readonly kernel: number;
}

type DeltaDefaults = Pick<DeltaSizes, "keyHeads" | "valueHeads"> & {
  /** By the number of heads. */
  readonly keyDim: (keyHeads: number) => number;
  readonly valueDim: (keyDim: number) => number;
};

/**
 * `linear_num_key_heads` and the like.
 * @param defaults of transformers
 * @throws CheckpointError when the heads of keys do not divide those of values
 */
export function readDeltaSizes(config: ModelConfig, hidden: number, defaults: DeltaDefaults): DeltaSizes {
  const keyHeads = readParts(config, "linear_num_key_heads", defaults.keyHeads);
  const valueHeads = readParts(config, "linear_num_value_heads", defaults.valueHeads);
  if (valueHeads % keyHeads !== 0) {
    throw new CheckpointError(
      `${config.nameOf("linear_num_value_heads")}: expected a multiple of linear_num_key_heads (${keyHeads}), found ${valueHeads}`,
    );
  }
  const keyDim = config.positiveInteger("linear_key_head_dim", defaults.keyDim(keyHeads));
  const valueDim = config.positiveInteger("linear_value_head_dim", defaults.valueDim(keyDim));
  const kernel = config.positiveInteger("linear_conv_kernel_dim", 4);
  return { hidden, keyHeads, valueHeads, keyDim, valueDim, kernel };
}

export type HybridType = "linear_attention" | "full_attention";

/**
 * `layer_types`.
 * @param byDefault whether a layer has attention where the key is absent
 */
export function hybridTypes(
  config: ModelConfig,
  layers: number,
  byDefault: (layer: number) => boolean,
): readonly HybridType[] {
  return (
    layerTypes<HybridType>(config, layers, ["linear_attention", "full_attention"]) ??
    Array.from({ length: layers }, (_, layer) => (byDefault(layer) ? "full_attention" : "linear_attention"))
  );
}

/** The projections of q, k, v, of the gate, of beta and of the decay. */
export type DeltaProjections = Readonly<Record<"query" | "key" | "value" | "gate" | "beta" | "decay", Linear>>;

/** The weights of the convolutions. [channels, 1, kernel] */
type DeltaConvolutions = Readonly<Record<"query" | "key" | "value", WeightSource>>;

interface DeltaParts {
  /** Prefix of the block's tensors. */
  readonly name: string;
  readonly projections: DeltaProjections;
  readonly convolutions: DeltaConvolutions;
  readonly activation: GatedDeltaNet["activation"];
  readonly betaMultiplier?: number;
  readonly norm: RmsNorm;
  /** The name of the output projection, behind the prefix. */
  readonly output: string;
}

/** The block from its parts. */
export function gatedDeltaNet(
  sizes: DeltaSizes,
  { name, projections, convolutions, output, ...parts }: DeltaParts,
): GatedDeltaNet {
  const { hidden, keyHeads, valueHeads, keyDim, valueDim, kernel } = sizes;
  const convolved = (part: "query" | "key" | "value"): ConvolvedProjection => ({
    projection: projections[part],
    convolution: { weight: convolutions[part], channels: projections[part].outputs, kernel },
  });
  return {
    kind: "gated-delta-net",
    ...{ keyHeads, valueHeads, keyDim, valueDim },
    ...{ query: convolved("query"), key: convolved("key"), value: convolved("value") },
    decay: projections.decay,
    decayBias: tensorSource(`${name}.dt_bias`, [valueHeads]),
    decayLogRate: tensorSource(`${name}.A_log`, [valueHeads]),
    beta: projections.beta,
    gate: projections.gate,
    output: linear(`${name}.${output}`, valueHeads * valueDim, hidden),
    ...parts,
  };
}

/** The convolutions of q, k and v in one tensor, one after the other. @param name without `.weight` */
export function fusedConvolutions(
  name: string,
  { keyHeads, valueHeads, keyDim, valueDim, kernel }: DeltaSizes,
): DeltaConvolutions {
  const [keys, values] = [keyHeads * keyDim, valueHeads * valueDim];
  const of = tensorSource(`${name}.weight`, [2 * keys + values, 1, kernel]);
  const rows = (start: number, end: number): WeightSource => ({ kind: "rows", of, start, end });
  return { query: rows(0, keys), key: rows(keys, 2 * keys), value: rows(2 * keys, 2 * keys + values) };
}
