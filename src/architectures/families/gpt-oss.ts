// GPT-OSS: biases everywhere, sinks, a window in every other layer, YaRN; experts in two stacks stored inputs first, gate and
// up interleaved, behind a clamped SwiGLU.

import type { FeedForward, Linear } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { Experts } from "../experts.js";
import { checkPerToken, type MixtureSizes, mixture, OVER_SUM, scoreRouter, stackOf } from "../moe-parts.js";
import { decoderOf, type FamilyInput, groupedQuery, normsBefore, rmsNormOf, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readParts, readSizes } from "../sizes.js";
import { type TensorSource, tensorSource, type WeightSource } from "../weight-source.js";
import { slidingWindows, uniformWindow } from "../windows.js";

/** transformers' default RoPE parameters. */
const YARN = {
  ...{ rope_type: "yarn", factor: 32, beta_fast: 32, beta_slow: 1, truncate: false },
  original_max_position_embeddings: 4096,
};

export function describeGptOss(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 8, headDim: 64 });
  const { hidden } = sizes;
  const plainNorm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const norm = (name: string, size: number) => ({ ...plainNorm(name, size), product: "float32" }) as const;
  const rope = readRope(config, sizes.headDim, { defaultTheta: 150_000, absent: YARN });
  const windows = slidingWindows(config, sizes.layers, uniformWindow(config, 128), (layer) => layer % 2 === 0);
  const bias = config.boolean("attention_bias", true);
  const mixtureSizes: Omit<MixtureSizes, "activation"> = {
    hidden,
    experts: readParts(config, "num_local_experts", 128),
    perToken: config.positiveInteger("num_experts_per_tok", 4),
    intermediate: config.positiveInteger("intermediate_size"),
  };
  checkPerToken(config, "num_experts_per_tok", mixtureSizes);
  const activation: FeedForward["activation"] = {
    kind: "clamped-swiglu",
    alpha: config.positiveNumber("swiglu_alpha", 1.702),
    limit: config.positiveNumber("swiglu_limit", 7),
  };
  config.ignoreIf("hidden_act", ["silu"], "the experts' own activation is used in its place");
  config.ignoreIf("experts_per_token", [mixtureSizes.perToken], "says the same as num_experts_per_tok");
  config.ignore("initial_context_length", "original_max_position_embeddings is read");
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer, index) => {
      const sinks = tensorSource(`${layer.attention}.sinks`, [sizes.heads]);
      const differences = { rope: rotateAll(rope), window: windows[index], sinks };
      const attention = groupedQuery(layer, sizes, { qkv: bias, output: bias }, differences);
      return normsBefore(layer, hidden, norm, [attention, mixtureOf(layer.feedForward, mixtureSizes, activation)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

function mixtureOf(
  prefix: string,
  sizes: Omit<MixtureSizes, "activation">,
  activation: FeedForward["activation"],
): Experts {
  const { hidden, experts, perToken, intermediate } = sizes;
  const name = (part: string) => `${prefix}.experts.${part}`;
  const gateUp = stackOf(name("gate_up_proj"), experts, [2 * intermediate, hidden], "inputs-first");
  const gateUpBias = tensorSource(name("gate_up_proj_bias"), [experts, 2 * intermediate]);
  const down = stackOf(name("down_proj"), experts, [hidden, intermediate], "inputs-first");
  const downBias = tensorSource(name("down_proj_bias"), [experts, hidden]);
  const feedForwards = Array.from({ length: experts }, (_, index): FeedForward => {
    const expert = (of: TensorSource): WeightSource => ({ kind: "expert", of, index });
    const everySecond = (start: number): Linear => {
      const part = (of: WeightSource): WeightSource => ({
        ...{ kind: "interleaved", of, groups: intermediate },
        ...{ start, end: start + 1 },
      });
      const [weight, bias] = [part(expert(gateUp)), part(expert(gateUpBias))];
      return { weight, bias, inputs: hidden, outputs: intermediate };
    };
    return {
      kind: "feed-forward",
      activation,
      gate: everySecond(0),
      up: everySecond(1),
      down: { weight: expert(down), bias: expert(downBias), inputs: intermediate, outputs: hidden },
    };
  });
  const router = scoreRouter(`${prefix}.router`, { hidden, experts, perToken }, { normalised: OVER_SUM });
  const bias = tensorSource(`${prefix}.router.bias`, [experts]);
  return mixture({ ...router, logits: { ...router.logits, bias } }, feedForwards);
}
