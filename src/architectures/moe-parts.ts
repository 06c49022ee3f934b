// Parts of families with experts: routers, experts by their tensors, and which layers have them. Pure data out; knows
// no attention.

import { CheckpointError } from "../errors.js";
import type { Activation, Block, FeedForward } from "./blocks.js";
import type { Experts, ScoreRouter } from "./experts.js";
import type { ModelConfig } from "./model-config.js";
import { gated, linear, rowsOfFused } from "./parts.js";
import { readActivation, readParts } from "./sizes.js";
import type { LayerNames } from "./tensor-names.js";
import { type TensorSource, tensorSource, type WeightSource } from "./weight-source.js";
import { layerTypes } from "./windows.js";

/** Sizes of a mixture. */
export interface MixtureSizes {
  readonly hidden: number;
  readonly experts: number;
  readonly perToken: number;
  /** Width of each expert. */
  readonly intermediate: number;
  readonly activation: Activation;
}

/** Their keys in config.json. */
interface MixtureKeys {
  /** Two if transformers has renamed the key. */
  readonly experts?: readonly [string, ...string[]];
  readonly perToken?: readonly [string, ...string[]];
  readonly intermediate?: string;
  /** Of a family that has only one; absent: `hidden_act`. */
  readonly activation?: Activation;
  /** transformers' default for the number of experts. */
  readonly expertsByDefault?: number;
}

/**
 * Sizes of a mixture.
 * @throws CheckpointError when two names of one key contradict each other, or there are more experts per token than
 * experts
 */
export function readMixture(
  config: ModelConfig,
  hidden: number,
  {
    experts: expertKeys = ["num_experts", "num_local_experts"],
    perToken: perTokenKeys = ["num_experts_per_tok"],
    intermediate = "moe_intermediate_size",
    activation,
    expertsByDefault,
  }: MixtureKeys = {},
): MixtureSizes {
  const sizes = {
    hidden,
    experts: readRenamed(config, expertKeys, expertsByDefault),
    perToken: readRenamed(config, perTokenKeys),
    intermediate: config.positiveInteger(intermediate),
    activation: activation ?? readActivation(config),
  };
  checkPerToken(config, perTokenKeys[0], sizes);
  return sizes;
}

/** @throws CheckpointError when there are more experts per token than experts */
export function checkPerToken(
  config: ModelConfig,
  key: string,
  { perToken, experts }: Pick<MixtureSizes, "perToken" | "experts">,
): void {
  if (perToken <= experts) return;
  throw new CheckpointError(
    `${config.nameOf(key)}: expected at most ${experts}, the number of experts, found ${perToken}`,
  );
}

/** A number of experts with several names: those that are present must agree. */
function readRenamed(config: ModelConfig, keys: readonly [string, ...string[]], fallback?: number): number {
  const present = keys.filter((key) => config.has(key));
  const [first, ...others] = present.length === 0 ? [keys[0]] : present;
  const value = readParts(config, first ?? keys[0], fallback);
  for (const key of others) {
    const other = config.positiveInteger(key);
    if (other === value) continue;
    throw new CheckpointError(`${config.nameOf(key)}: ${other} contradicts ${first}, which is ${value}`);
  }
  return value;
}

/** Weights of a token divided by their sum. */
export const OVER_SUM: NonNullable<ScoreRouter["normalised"]> = { p: 1, epsilon: 0, floor: 0 };

/**
 * A router with logits from one matrix without bias, which weights experts by scores. @param name of its tensor,
 * without `.weight`
 */
export function scoreRouter(
  name: string,
  { hidden, experts, perToken }: Pick<MixtureSizes, "hidden" | "experts" | "perToken">,
  differences: Partial<Omit<ScoreRouter, "kind">> = {},
): ScoreRouter {
  const logits = linear(name, hidden, experts);
  return { kind: "scores", logits, perToken, score: "softmax", multiplier: 1, ...differences };
}

/** `norm_topk_prob`: weights divided by their sum. @param fallback transformers' default */
export function normalisedAsSaid(config: ModelConfig, fallback: boolean): Pick<ScoreRouter, "normalised"> {
  return config.boolean("norm_topk_prob", fallback) ? { normalised: OVER_SUM } : {};
}

/**
 * The router of DeepSeek-V3 and others: sigmoid, correction bias for the choice, groups, a multiplier.
 * @param correction name of its tensor
 * @param fallback transformers' defaults
 */
export function sigmoidRouter(
  config: ModelConfig,
  sizes: MixtureSizes,
  fallback: { readonly normalised: boolean; readonly multiplier: number },
): (name: string, correction: string) => ScoreRouter {
  const groups = readGroups(config, sizes);
  const isNormalised = config.boolean("norm_topk_prob", fallback.normalised);
  const multiplier = config.number("routed_scaling_factor", fallback.multiplier);
  return (name, correction) =>
    scoreRouter(name, sizes, {
      score: "sigmoid",
      correction: tensorSource(correction, [sizes.experts]),
      ...(groups && { groups }),
      ...(isNormalised && { normalised: { ...OVER_SUM, epsilon: 1e-20 } }),
      multiplier,
    });
}

/** `n_group` and `topk_group`; one group means no groups. */
function readGroups(config: ModelConfig, { experts, perToken }: MixtureSizes): ScoreRouter["groups"] {
  const count = config.positiveInteger("n_group", 1);
  const chosen = config.positiveInteger("topk_group", 1);
  const size = experts / count;
  // The scores of two experts of each group are added up. With too few experts in the chosen groups, transformers would
  // choose others arbitrarily.
  if (!Number.isInteger(size) || (size < 2 && count > 1)) {
    throw new CheckpointError(
      `${config.nameOf("n_group")}: expected groups of two experts or more, all of one size, found ${count} groups of ${experts} experts`,
    );
  }
  if (chosen > count || perToken > chosen * size) {
    throw new CheckpointError(
      `${config.nameOf("topk_group")}: expected groups that have ${perToken} experts for a token, at most ${count} groups, found ${chosen}`,
    );
  }
  return count === 1 ? undefined : { count, chosen };
}

const LLAMA_EXPERT = { gate: "gate_proj", up: "up_proj", down: "down_proj" };
export const MIXTRAL_EXPERT = { gate: "w1", up: "w3", down: "w2" };

/** Experts with their own numbered tensors. @param prefix before the number */
export function expertsOf(
  prefix: string,
  { hidden, experts, intermediate, activation }: MixtureSizes,
  names = LLAMA_EXPERT,
): FeedForward[] {
  return Array.from({ length: experts }, (_, expert): FeedForward => {
    const part = (name: string, inputs: number, outputs: number) =>
      linear(`${prefix}.${expert}.${name}`, inputs, outputs);
    return {
      kind: "feed-forward",
      activation,
      gate: part(names.gate, hidden, intermediate),
      up: part(names.up, hidden, intermediate),
      down: part(names.down, intermediate, hidden),
    };
  });
}

/**
 * Experts in two stacked tensors: gate and up, [experts, 2 × intermediate, hidden], and down, [experts, hidden,
 * intermediate]; or both with the last two axes transposed.
 */
export function expertsOfStacks(
  { gateUp, down }: { readonly gateUp: string; readonly down: string },
  { hidden, experts, intermediate, activation }: MixtureSizes,
  stored: TensorSource["stored"] = "outputs-first",
): FeedForward[] {
  const gateUps = stackOf(gateUp, experts, [2 * intermediate, hidden], stored);
  const downs = stackOf(down, experts, [hidden, intermediate], stored);
  return Array.from({ length: experts }, (_, index): FeedForward => {
    const of: WeightSource = { kind: "expert", of: gateUps, index };
    const rows = (start: number): WeightSource => ({ kind: "rows", of, start, end: start + intermediate });
    return {
      kind: "feed-forward",
      activation,
      gate: { weight: rows(0), inputs: hidden, outputs: intermediate },
      up: { weight: rows(intermediate), inputs: hidden, outputs: intermediate },
      down: { weight: { kind: "expert", of: downs, index }, inputs: intermediate, outputs: hidden },
    };
  });
}

/** One tensor with a matrix of each expert. @param sizes outputs and inputs of a matrix */
export function stackOf(
  name: string,
  experts: number,
  [outputs, inputs]: readonly [number, number],
  stored: TensorSource["stored"],
): TensorSource {
  const shape = stored === "outputs-first" ? [outputs, inputs] : [inputs, outputs];
  return { ...tensorSource(name, [experts, ...shape]), stored };
}

/** A feed-forward with Llama's names after a prefix: a shared expert. */
export function gatedAt(
  prefix: string,
  hidden: number,
  { intermediate, activation, bias = false }: { intermediate: number; activation: Activation; bias?: boolean },
): FeedForward {
  const { gate, up, down } = LLAMA_EXPERT;
  return {
    kind: "feed-forward",
    activation,
    gate: linear(`${prefix}.${gate}`, hidden, intermediate, bias),
    up: linear(`${prefix}.${up}`, hidden, intermediate, bias),
    down: linear(`${prefix}.${down}`, intermediate, hidden, bias),
  };
}

/** The same with gate and up in one tensor. */
export function gatedFusedAt(
  names: { readonly gateUp: string; readonly down: string },
  hidden: number,
  { intermediate, activation }: { intermediate: number; activation: Activation },
): FeedForward {
  const [gate, up] = rowsOfFused(names.gateUp, hidden, [intermediate, intermediate] as const);
  return { kind: "feed-forward", activation, gate, up, down: linear(names.down, intermediate, hidden) };
}

/** Qwen's shared expert, with a gate. @param prefix of the mixture's tensors */
export function gatedSharedExpert(
  prefix: string,
  { hidden, activation }: Pick<MixtureSizes, "hidden" | "activation">,
  intermediate: number,
): NonNullable<Experts["shared"]> {
  return {
    feedForward: gatedAt(`${prefix}.shared_expert`, hidden, { intermediate, activation }),
    gate: linear(`${prefix}.shared_expert_gate`, hidden, 1),
  };
}

/** Σ weight · expert(x) + shared(x) */
export function mixture(
  router: Experts["router"],
  experts: readonly FeedForward[],
  shared?: Experts["shared"],
): Experts {
  return { kind: "experts", router, experts, weighted: "output", ...(shared && { shared }) };
}

/** Qwen's rule: experts in every `decoder_sparse_step`-th layer that `mlp_only_layers` does not name. */
export function sparseSteps(config: ModelConfig, layers: number): boolean[] {
  const step = config.positiveInteger("decoder_sparse_step", 1);
  const dense = config.optionalNumbers("mlp_only_layers") ?? [];
  return Array.from({ length: layers }, (_, layer) => (layer + 1) % step === 0 && !dense.includes(layer));
}

/** Experts after the first `first_k_dense_replace` layers. */
export function behindDense(config: ModelConfig, layers: number, fallback: number): boolean[] {
  const first = config.count("first_k_dense_replace", fallback);
  return Array.from({ length: layers }, (_, layer) => layer >= first);
}

/** Experts where `mlp_layer_types` says "sparse"; undefined when the key is absent. */
export function mlpLayerTypes(config: ModelConfig, layers: number): boolean[] | undefined {
  return layerTypes(config, layers, ["dense", "sparse"], "mlp_layer_types")?.map((type) => type === "sparse");
}

/**
 * The block after the attention of each layer: a mixture, or a feed-forward of `intermediate_size`.
 * @param hasExperts by layer
 */
export function mixtureOrDense(
  config: ModelConfig,
  hidden: number,
  hasExperts: readonly boolean[],
  mixtureOf: (names: LayerNames) => Block,
  dense: { readonly bias?: boolean; readonly activation?: Activation } = {},
): (names: LayerNames, layer: number) => Block {
  if (!hasExperts.includes(false)) {
    config.ignore("intermediate_size", "of feed-forwards without experts, which no layer has");
    return mixtureOf;
  }
  const intermediate = config.positiveInteger("intermediate_size");
  const inner = { intermediate, ...dense, activation: dense.activation ?? readActivation(config) };
  return (names, layer) => (hasExperts[layer] ? mixtureOf(names) : gated(names, hidden, inner));
}
