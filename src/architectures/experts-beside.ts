// Gemma 4's experts, parallel to the feed-forward of each layer: both read x, each has its own norms, and their sum has
// another one. Pure data out; reads no files.

import { CheckpointError } from "../errors.js";
import type { Activation, FeedForward, Linear, Norm } from "./blocks.js";
import type { Residual } from "./description.js";
import type { Experts } from "./experts.js";
import type { ModelConfig } from "./model-config.js";
import { linear } from "./parts.js";
import { readParts } from "./sizes.js";
import type { LayerNames } from "./tensor-names.js";
import { type TensorSource, tensorSource, type WeightSource } from "./weight-source.js";

const KEYS = ["num_experts", "top_k_experts", "moe_intermediate_size"] as const;

/**
 * Adds experts to a layer's feed-forward residual; returns it unchanged where `enable_moe_block` is false.
 * @throws CheckpointError naming the key
 */
export function readExpertsBeside(
  config: ModelConfig,
  hidden: number,
  norm: (name: string, size: number) => Norm,
  activation: Activation,
): (layer: LayerNames, feedForward: Residual) => Residual {
  config.ignore("expert_intermediate_size", "an older name, which transformers ignores");
  if (!config.boolean("enable_moe_block", false)) {
    for (const key of KEYS) config.ignore(key, "enable_moe_block is false");
    return (_layer, feedForward) => feedForward;
  }
  const [count, perToken, intermediate] = [
    readParts(config, KEYS[0]),
    config.positiveInteger(KEYS[1]),
    config.positiveInteger(KEYS[2]),
  ];
  if (perToken > count) {
    throw new CheckpointError(
      `${config.nameOf("top_k_experts")}: expected at most num_experts (${count}), found ${perToken}`,
    );
  }
  return (layer, { branches: [dense], ...others }) => {
    const inner = (name: string) => norm(layer.of(name), hidden);
    const gateUp = tensorSource(layer.of("experts.gate_up_proj"), [count, 2 * intermediate, hidden]);
    const down = tensorSource(layer.of("experts.down_proj"), [count, hidden, intermediate]);
    const experts: Experts = {
      kind: "experts",
      weighted: "output",
      norm: inner("pre_feedforward_layernorm_2"),
      router: {
        ...{ kind: "scores", score: "softmax", perToken, multiplier: 1 },
        input: {
          norm: { ...norm("", hidden), weight: tensorSource(layer.of("router.scale"), [hidden]) },
          multiplier: hidden ** -0.5,
        },
        logits: linear(layer.of("router.proj"), hidden, count),
        normalised: { p: 1, epsilon: 0, floor: 0 },
        perExpert: tensorSource(layer.of("router.per_expert_scale"), [count]),
      },
      experts: Array.from({ length: count }, (_, index) =>
        expert(gateUp, down, index, { hidden, intermediate, activation }),
      ),
    };
    const { postNorm, ...withoutNorm } = dense;
    return {
      ...others,
      branches: [
        { ...withoutNorm, postNorm: inner("post_feedforward_layernorm_1") },
        { block: experts, postNorm: inner("post_feedforward_layernorm_2") },
      ],
      ...(postNorm && { postNorm }),
    };
  };
}

function expert(
  gateUp: TensorSource,
  down: TensorSource,
  index: number,
  { hidden, intermediate, activation }: { hidden: number; intermediate: number; activation: Activation },
): FeedForward {
  const rows = (start: number): Linear => {
    const of: WeightSource = { kind: "expert", of: gateUp, index };
    return { weight: { kind: "rows", of, start, end: start + intermediate }, inputs: hidden, outputs: intermediate };
  };
  return {
    ...{ kind: "feed-forward", activation, gate: rows(0), up: rows(intermediate) },
    down: { weight: { kind: "expert", of: down, index }, inputs: intermediate, outputs: hidden },
  };
}
