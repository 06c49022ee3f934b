// Qwen3.5 (text): Qwen3-Next with its projections in tensors of their own; feed-forwards, or experts in every layer.

import type { Block } from "../blocks.js";
import type { Decoder } from "../description.js";
import {
  expertsOf,
  expertsOfStacks,
  gatedSharedExpert,
  mixture,
  OVER_SUM,
  readMixture,
  scoreRouter,
} from "../moe-parts.js";
import { type FamilyInput, gated, linear, rowsOfFused } from "../parts.js";
import { qwenHybrid } from "../qwen-hybrid.js";
import { readActivation, readSizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";

export function describeQwen35Text(input: FamilyInput): Decoder {
  const { config } = input;
  const { hidden } = readSizes(config, { kvHeads: 4, headDim: 256 });
  const inner = {
    intermediate: config.positiveInteger("intermediate_size", 12_288),
    activation: readActivation(config),
  };
  return qwen35(input, 4, (names) => gated(names, hidden, inner));
}

export function describeQwen35Moe(input: FamilyInput): Decoder {
  const { config, names } = input;
  const experts = readMixture(config, config.positiveInteger("hidden_size"), { expertsByDefault: 256 });
  const width = config.positiveInteger("shared_expert_intermediate_size", 512);
  return qwen35(input, 2, ({ feedForward }) => {
    const stacks = { gateUp: `${feedForward}.experts.gate_up_proj`, down: `${feedForward}.experts.down_proj` };
    const all = names.has(stacks.gateUp)
      ? expertsOfStacks(stacks, experts)
      : expertsOf(`${feedForward}.experts`, experts);
    const router = scoreRouter(`${feedForward}.gate`, experts, { normalised: OVER_SUM });
    return mixture(router, all, gatedSharedExpert(feedForward, experts, width));
  });
}

function qwen35(input: FamilyInput, kvHeads: number, feedForward: (names: LayerNames) => Block): Decoder {
  const { config } = input;
  config.ignoreIf("attn_output_gate", [true], "the gate is what this family has anyway");
  config.ignoreIf("mamba_ssm_dtype", ["float32"], "the type of the state here");
  return qwenHybrid(input, {
    sizes: readSizes(config, { kvHeads, headDim: 256 }),
    rope: { hasSections: true },
    projections: (name, { hidden, keyHeads, valueHeads, keyDim, valueDim }) => {
      const [keys, values] = [keyHeads * keyDim, valueHeads * valueDim];
      const [query, key, value] = rowsOfFused(`${name}.in_proj_qkv`, hidden, [keys, keys, values] as const);
      const own = (part: string, outputs: number) => linear(`${name}.in_proj_${part}`, hidden, outputs);
      return { query, key, value, gate: own("z", values), beta: own("b", valueHeads), decay: own("a", valueHeads) };
    },
    feedForward,
  });
}
