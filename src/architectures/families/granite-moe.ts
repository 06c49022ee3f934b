// Granite with experts, each kind of matrix of all of them in one tensor; with a shared expert beside them, with windows.

import type { Block } from "../blocks.js";
import type { Decoder } from "../description.js";
import { expertsOfStacks, gatedFusedAt, mixture, OVER_SUM, readMixture, scoreRouter } from "../moe-parts.js";
import { type FamilyInput, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";
import { graniteLike } from "./granite.js";
import { graniteSwaLike } from "./granite-swa.js";

export function describeGraniteMoe(input: FamilyInput): Decoder {
  return graniteMoe(input, 0);
}

export function describeGraniteMoeShared(input: FamilyInput): Decoder {
  return graniteMoe(input, input.config.count("shared_intermediate_size", 0));
}

export function describeGraniteMoeSwa(input: FamilyInput): Decoder {
  const shared = input.config.count("shared_intermediate_size", 0);
  return graniteSwaLike(input, { feedForward: graniteExperts(input, shared, SWA_NAMES) });
}

/** Names of tensors behind `block_sparse_moe`. */
const NAMES = { router: "router.layer", gateUp: "input_linear.weight", down: "output_linear.weight" };
/** As transformers 5 calls them: older names of this family there are none. */
const SWA_NAMES: typeof NAMES = { router: "router", gateUp: "experts.gate_up_proj", down: "experts.down_proj" };

function graniteMoe(input: FamilyInput, shared: number): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const rope = readRope(config, sizes.headDim);
  const scale = config.positiveNumber("attention_multiplier", 1);
  return graniteLike(input, {
    sizes,
    ropes: [rope],
    attention: () => ({ rope: rotateAll(rope), scale }),
    feedForward: graniteExperts(input, shared),
    logits: 1 / config.positiveNumber("logits_scaling", 1),
  });
}

/** A softmax over the logits of the chosen experts is one over all, divided by the sum. @param shared its size; 0: none */
export function graniteExperts({ config }: FamilyInput, shared: number, names = NAMES): (names: LayerNames) => Block {
  const hidden = config.positiveInteger("hidden_size");
  const sizes = readMixture(config, hidden, { experts: ["num_local_experts"], intermediate: "intermediate_size" });
  return (layer) => {
    const inMixture = (name: string) => `${layer.of("block_sparse_moe")}.${name}`;
    const experts = expertsOfStacks({ gateUp: inMixture(names.gateUp), down: inMixture(names.down) }, sizes);
    const router = scoreRouter(inMixture(names.router), sizes, { normalised: OVER_SUM });
    if (shared === 0) return mixture(router, experts);
    const inShared = (name: string) => `${layer.of("shared_mlp")}.${name}`;
    const both = { gateUp: inShared("input_linear"), down: inShared("output_linear") };
    return mixture(router, experts, { feedForward: gatedFusedAt(both, hidden, { ...sizes, intermediate: shared }) });
  };
}
