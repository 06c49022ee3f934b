// Nemotron-H, Nemotron-3: one block per layer, which is Mamba-2, attention without rotation, a feed-forward, or experts,
// perhaps in a latent space.

import { CheckpointError, UnsupportedModelError } from "../../errors.js";
import type { Block } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { decoderOf, type FamilyInput, groupedQuery, plain, preNorm, rmsNormOf } from "../parts.js";
import { readActivation, readParts, readSizes } from "../sizes.js";
import { checkGroups, limitsOf, stateSpaceOf } from "../state-space-parts.js";
import { type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { LATENT_EXPERT_KEYS, latentExperts, type Ungated } from "./nemotron-h-experts.js";

/** Behind `backbone.` in released files, and behind `model.`. */
export const NEMOTRON_H_NAMES: NameTable = {
  ...LLAMA_NAMES,
  anchor: "layers.0.norm.weight",
  embedding: "embeddings",
  attention: "mixer",
  feedForward: "mixer",
  finalNorm: "norm_f",
};

export function describeNemotronH(input: FamilyInput): Decoder {
  const { config, names } = input;
  const kinds = readKinds(config);
  const sizes = readSizes(config, { layers: kinds.length, hidden: 4096, heads: 32, kvHeads: 8, headDim: 128 });
  if (sizes.layers !== kinds.length) {
    throw new CheckpointError(
      `${config.nameOf("num_hidden_layers")}: expected ${kinds.length}, as many layers as have a block, found ${sizes.layers}`,
    );
  }
  const { hidden } = sizes;
  const epsilon = config.positiveNumber("layer_norm_epsilon", 1e-5);
  const norm = rmsNormOf(config, "layer_norm_epsilon", 1e-5);
  const inner = {
    activation: readActivation(config, "mlp_hidden_act", "relu2"),
    bias: config.boolean("mlp_bias", false),
  };
  const blocks: Readonly<Record<Kind, (names: LayerNames) => Block>> = {
    M: mambaOf(config, hidden, epsilon),
    "*": (layer) => groupedQuery(layer, sizes),
    "-": kinds.includes("-") ? feedForwardOf(config, hidden, inner) : without(config, ["intermediate_size"]),
    E: kinds.includes("E") ? latentExperts(config, hidden, inner) : without(config, LATENT_EXPERT_KEYS),
  };
  ignoreOthers(config, epsilon);
  return decoderOf(input, {
    sizes,
    ropes: [],
    layer: (layer, index) => [preNorm(norm(layer.of("norm"), hidden), blocks[kinds[index] ?? "M"](layer))],
    finalNorm: norm(names.finalNorm, hidden),
    vocabulary: 131_072,
  });
}

/** As in `hybrid_override_pattern`. */
type Kind = "M" | "*" | "-" | "E";

const KINDS: Readonly<Record<string, Kind>> = {
  ...{ linear_attention: "M", mamba: "M", full_attention: "*", attention: "*", mlp: "-", moe: "E" },
  ...{ M: "M", "*": "*", "-": "-", E: "E" },
};

/** `layers_block_type`, or a letter per layer. @throws UnsupportedModelError for other kinds */
function readKinds(config: ModelConfig): Kind[] {
  const list = config.optionalStrings("layers_block_type");
  const key = list === undefined ? "hybrid_override_pattern" : "layers_block_type";
  if (list !== undefined) config.ignore("hybrid_override_pattern", "layers_block_type takes its place");
  return (list ?? [...config.string("hybrid_override_pattern")]).map((name) => {
    const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
    if (kind !== undefined) return kind;
    throw new UnsupportedModelError(
      `${config.nameOf(key)}: "${name}" is not understood; understood: ${Object.keys(KINDS).join(", ")}`,
    );
  });
}

function mambaOf(config: ModelConfig, hidden: number, epsilon: number): (names: LayerNames) => Block {
  const sizes = {
    hidden,
    heads: readParts(config, "mamba_num_heads", 128),
    headDim: config.positiveInteger("mamba_head_dim", 64),
    groups: config.positiveInteger("n_groups", 8),
    stateSize: config.positiveInteger("ssm_state_size", 128),
    kernel: config.positiveInteger("conv_kernel", 4),
  };
  checkGroups(config, "n_groups", sizes);
  const bias = config.boolean("use_bias", false);
  const parts = {
    activation: readActivation(config, "mamba_hidden_act"),
    bias: { input: bias, convolution: config.boolean("use_conv_bias", true), output: bias },
    norm: { epsilon, when: "after-gate" },
    ...limitsOf(config.number("time_step_min", 0.001)),
  } as const;
  return (names) => stateSpaceOf(sizes, { name: names.of("mixer"), ...parts });
}

function feedForwardOf(config: ModelConfig, hidden: number, inner: Ungated): (names: LayerNames) => Block {
  const intermediate = config.positiveInteger("intermediate_size", 21_504);
  return (names) => plain(names, hidden, { intermediate, ...inner });
}

/** For a kind of block that no layer has. */
function without(config: ModelConfig, keys: readonly string[]): () => never {
  for (const key of keys) config.ignore(key, "no layer has a block of that kind");
  return () => {
    throw new RangeError("no layer has a block of that kind");
  };
}

function ignoreOthers(config: ModelConfig, epsilon: number): void {
  for (const key of ["rms_norm_eps", "norm_eps"]) {
    config.ignoreIf(key, [undefined, epsilon], "says the same as layer_norm_epsilon");
  }
  for (const key of ["rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor"]) {
    config.ignore(key, "its attention does not rotate");
  }
  config.ignore("time_step_limit", "transformers clamps by time_step_min alone");
  config.ignore("expand", "heads and head size say the width");
  config.ignore("chunk_size", "the same sums, in pieces");
}
