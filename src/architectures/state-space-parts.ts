// Parts of families with Mamba-2 in most layers, or beside attention: its sizes under the keys that most of them share,
// which layers have it, and the block from its tensors. Pure data out; knows no attention.

import { CheckpointError } from "../errors.js";
import type { Activation, ConvolvedProjection, Linear } from "./blocks.js";
import { type ModelConfig, shortJson } from "./model-config.js";
import { linear, rowsOfFused } from "./parts.js";
import { readParts } from "./sizes.js";
import type { StateSpace, TimeStepLimits } from "./state-space.js";
import { tensorSource, type WeightSource } from "./weight-source.js";
import { layerTypes } from "./windows.js";

/** Sizes of Mamba-2. */
export interface StateSpaceSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly headDim: number;
  readonly groups: number;
  readonly stateSize: number;
  /** Of the convolutions: how many tokens one sees. */
  readonly kernel: number;
}

/**
 * `mamba_n_heads` and the like.
 * @param width of all heads together; absent: mamba_expand × hidden_size
 * @throws CheckpointError when the heads do not make up the width
 */
export function readStateSpaceSizes(config: ModelConfig, hidden: number, width?: number): StateSpaceSizes {
  const inner = width ?? config.positiveInteger("mamba_expand", 2) * hidden;
  const heads = readParts(config, "mamba_n_heads", 128);
  const isAuto = (config.peek("mamba_d_head") ?? "auto") === "auto";
  const headDim = isAuto ? Math.floor(inner / heads) : config.positiveInteger("mamba_d_head");
  if (isAuto) config.raw("mamba_d_head");
  if (heads * headDim !== inner) {
    throw new CheckpointError(
      `${config.nameOf("mamba_n_heads")}: expected heads that have ${inner} numbers together, found ${heads} of ${headDim}`,
    );
  }
  const sizes = {
    ...{ hidden, heads, headDim },
    groups: config.positiveInteger("mamba_n_groups", 1),
    stateSize: config.positiveInteger("mamba_d_state", 256),
    kernel: config.positiveInteger("mamba_d_conv", 4),
  };
  checkGroups(config, "mamba_n_groups", sizes);
  return sizes;
}

/** @throws CheckpointError when the heads cannot share groups evenly */
export function checkGroups(config: ModelConfig, key: string, { heads, groups }: StateSpaceSizes): void {
  if (heads % groups === 0) return;
  throw new CheckpointError(`${config.nameOf(key)}: ${groups} groups cannot serve ${heads} heads evenly`);
}

/** `time_step_limit`, two numbers: transformers' default, above 0, cuts nothing. @throws CheckpointError */
export function readTimeStepLimits(config: ModelConfig): Pick<StateSpace, "timeStepLimits"> {
  const key = "time_step_limit";
  const limits = config.raw(key) ?? [0, Number.POSITIVE_INFINITY];
  const [least, most, ...others] = Array.isArray(limits) ? limits.map(numberOf) : [];
  if (least === undefined || most === undefined || others.length > 0 || !(least <= most)) {
    throw new CheckpointError(`${config.nameOf(key)}: expected two ascending numbers, found ${shortJson(limits)}`);
  }
  return limitsOf(least, most);
}

/** A step of time is above 0 in any case. */
export function limitsOf(least: number, most = Number.POSITIVE_INFINITY): Pick<StateSpace, "timeStepLimits"> {
  if (least <= 0 && most === Number.POSITIVE_INFINITY) return {};
  const timeStepLimits: TimeStepLimits = most === Number.POSITIVE_INFINITY ? { least } : { least, most };
  return { timeStepLimits };
}

/** transformers 5 writes numbers that JSON does not have as `{"__float__": "Infinity"}`. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  const isWrapped = typeof value === "object" && value !== null && "__float__" in value;
  return isWrapped && value.__float__ === "Infinity" ? Number.POSITIVE_INFINITY : undefined;
}

const MAMBA = ["linear_attention", "mamba"] as const;
const ATTENTION = ["full_attention", "attention"] as const;

/** By layer, whether it has attention: `layer_types` or the like, in the words of transformers 4 or 5. */
export function layersWithAttention(config: ModelConfig, layers: number, key: string): readonly boolean[] | undefined {
  return layerTypes(config, layers, [...MAMBA, ...ATTENTION], key)?.map((type) => ATTENTION.some((it) => it === type));
}

interface StateSpaceParts extends Pick<StateSpace, "timeStepLimits" | "multipliers"> {
  /** Prefix of the block's tensors. */
  readonly name: string;
  readonly activation: Activation;
  readonly bias: { readonly input: boolean; readonly convolution: boolean; readonly output: boolean };
  /** Absent: there is none. */
  readonly norm?: { readonly epsilon: number; readonly when: "before-gate" | "after-gate" };
}

/** The block from its tensors: one projection to the gate, x, b, c and Δ, and one convolution over x, b and c. */
export function stateSpaceOf(sizes: StateSpaceSizes, { name, bias, norm, ...parts }: StateSpaceParts): StateSpace {
  const { hidden, heads, headDim, groups, stateSize, kernel } = sizes;
  const [width, shared] = [heads * headDim, groups * stateSize];
  const outputs = [width, width, shared, shared, heads] as const;
  const [gate, x, b, c, timeStep] = rowsOfFused(`${name}.in_proj`, hidden, outputs, bias.input);
  const channels = width + 2 * shared;
  const weights = tensorSource(`${name}.conv1d.weight`, [channels, 1, kernel]);
  const biases = bias.convolution ? tensorSource(`${name}.conv1d.bias`, [channels]) : undefined;
  const convolved = (projection: Linear, start: number): ConvolvedProjection => {
    const rows = (of: WeightSource): WeightSource => ({ kind: "rows", of, start, end: start + projection.outputs });
    const convolution = { weight: rows(weights), channels: projection.outputs, kernel };
    return { projection, convolution: biases === undefined ? convolution : { ...convolution, bias: rows(biases) } };
  };
  return {
    kind: "state-space",
    ...{ heads, headDim, groups, gate, timeStep },
    ...{ x: convolved(x, 0), b: convolved(b, width), c: convolved(c, width + shared) },
    timeStepBias: tensorSource(`${name}.dt_bias`, [heads]),
    decayLogRate: tensorSource(`${name}.A_log`, [heads]),
    skip: tensorSource(`${name}.D`, [heads]),
    ...(norm && { norm: { ...norm, weight: tensorSource(`${name}.norm.weight`, [width]), groups } }),
    output: linear(`${name}.out_proj`, width, hidden, bias.output),
    ...parts,
  };
}
