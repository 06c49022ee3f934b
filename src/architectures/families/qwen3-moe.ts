// Qwen 3 with experts: in every n-th layer, or in all but some; one window for all layers, if it is used. The text parts
// of Qwen3-VL and Qwen3-Omni are the same without windows, with M-RoPE; Qwen3-VL stacks its experts in two tensors.

import type { FeedForward } from "../blocks.js";
import type { Decoder } from "../description.js";
import { type LlamaLike, llamaLike } from "../llama-like.js";
import type { ModelConfig } from "../model-config.js";
import {
  expertsOf,
  expertsOfStacks,
  type MixtureSizes,
  mixture,
  mixtureOrDense,
  normalisedAsSaid,
  OVER_SUM,
  readMixture,
  scoreRouter,
  sparseSteps,
} from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes, type Sizes } from "../sizes.js";
import { windowIfUsed } from "../windows.js";

/** What differs between the three. */
interface Kind {
  readonly layers: (config: ModelConfig, sizes: Sizes) => Partial<LlamaLike>;
  readonly normalised: (config: ModelConfig) => ReturnType<typeof normalisedAsSaid>;
  readonly experts: (prefix: string, sizes: MixtureSizes, input: FamilyInput) => readonly FeedForward[];
  /** transformers' default for their number. */
  readonly count?: number;
}

const numbered: Kind["experts"] = (prefix, sizes) => expertsOf(prefix, sizes);
const withSections = () => ({ rope: { hasSections: true } });

export function describeQwen3Moe(input: FamilyInput): Decoder {
  return describe(input, {
    layers: (config, { layers }) => {
      const window = windowIfUsed(config, 4096);
      config.ignore("max_window_layers", "all layers have the same window in this family");
      return { windows: Array.from({ length: layers }, () => window) };
    },
    normalised: (config) => normalisedAsSaid(config, false),
    experts: numbered,
  });
}

export function describeQwen3VlMoe(input: FamilyInput): Decoder {
  return describe(input, {
    layers: withSections,
    normalised: (config) => {
      config.ignoreIf("norm_topk_prob", [true], "weights are divided by their sum, as this family always does");
      return { normalised: OVER_SUM };
    },
    experts: stackedExperts,
    count: 60,
  });
}

/** Released files have them inputs first, and those that transformers 5 saves outputs first. */
function stackedExperts(prefix: string, sizes: MixtureSizes, { shapeOf }: FamilyInput): readonly FeedForward[] {
  const names = { gateUp: `${prefix}.gate_up_proj`, down: `${prefix}.down_proj` };
  const isOutputsFirst = shapeOf?.(names.down)?.[1] === sizes.hidden && sizes.hidden !== sizes.intermediate;
  return expertsOfStacks(names, sizes, isOutputsFirst ? "outputs-first" : "inputs-first");
}

export function describeQwen3OmniMoe(input: FamilyInput): Decoder {
  const normalised = (config: ModelConfig) => normalisedAsSaid(config, true);
  return describe(input, { layers: withSections, normalised, experts: numbered, count: 128 });
}

function describe(input: FamilyInput, kind: Kind): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 4 });
  const bias = config.boolean("attention_bias", false);
  const differences = kind.layers(config, sizes);
  config.ignoreIf("use_qk_norm", [true], "norms of q and k are what this family has anyway");
  config.ignoreIf("shared_expert_intermediate_size", [0], "no shared expert is what this family has anyway");
  const experts = readMixture(config, sizes.hidden, { ...(kind.count && { expertsByDefault: kind.count }) });
  const weights = kind.normalised(config);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    queryKeyNorms: "before-rotation",
    ...differences,
    feedForward: mixtureOrDense(config, sizes.hidden, sparseSteps(config, sizes.layers), ({ feedForward }) =>
      mixture(
        scoreRouter(`${feedForward}.gate`, experts, weights),
        kind.experts(`${feedForward}.experts`, experts, input),
      ),
    ),
  });
}
