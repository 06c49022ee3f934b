// Nemotron-H, Nemotron-3: one block per layer, which is Mamba-2, attention without rotation, a feed-forward, or experts,
// perhaps in a latent space.

import { CheckpointError, UnsupportedModelError } from "../../errors.js";
import type { Activation, Block, FeedForward } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { checkPerToken, type MixtureSizes, mixture, sigmoidRouter } from "../moe-parts.js";
import { decoderOf, type FamilyInput, groupedQuery, linear, plain, preNorm, rmsNormOf } from "../parts.js";
import { readActivation, readParts, readSizes } from "../sizes.js";
import { checkGroups, limitsOf, stateSpaceOf } from "../state-space-parts.js";
import { type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";

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
    "-": kinds.includes("-") ? feedForwardOf(config, hidden, inner) : without(config, FEED_FORWARD_KEYS),
    E: kinds.includes("E") ? latentExperts(config, hidden, inner) : without(config, EXPERT_KEYS),
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

interface Inner {
  readonly activation: Activation;
  readonly bias: boolean;
}

function feedForwardOf(config: ModelConfig, hidden: number, inner: Inner): (names: LayerNames) => Block {
  const intermediate = config.positiveInteger("intermediate_size", 21_504);
  return (names) => plain(names, hidden, { intermediate, ...inner });
}

/** Experts without gates and a shared one; with `moe_latent_size` the experts work between two projections. */
function latentExperts(config: ModelConfig, hidden: number, { activation, bias }: Inner): (names: LayerNames) => Block {
  const experts = readParts(config, "n_routed_experts", 8);
  const perToken = readParts(config, "num_experts_per_tok", 2);
  const intermediate = config.positiveInteger("moe_intermediate_size", 7688);
  const sizes: MixtureSizes = { hidden, experts, perToken, intermediate, activation };
  checkPerToken(config, "num_experts_per_tok", sizes);
  const router = sigmoidRouter(config, sizes, { normalised: true, multiplier: 1 });
  const latent = config.optionalPositiveInteger("moe_latent_size");
  const shared = config.positiveInteger("moe_shared_expert_intermediate_size", 7688);
  return ({ feedForward: prefix }) => {
    const ungated = (name: string, width: number, between: number, hasBias: boolean): FeedForward => ({
      ...{ kind: "feed-forward", activation },
      up: linear(`${prefix}.${name}.up_proj`, width, between, hasBias),
      down: linear(`${prefix}.${name}.down_proj`, between, width, hasBias),
    });
    const routed = Array.from({ length: experts }, (_, index) =>
      ungated(`experts.${index}`, latent ?? hidden, intermediate, false),
    );
    const both = {
      into: linear(`${prefix}.fc1_latent_proj`, hidden, latent ?? hidden, bias),
      out: linear(`${prefix}.fc2_latent_proj`, latent ?? hidden, hidden, bias),
    };
    return {
      ...mixture(router(`${prefix}.gate`, `${prefix}.gate.e_score_correction_bias`), routed, {
        feedForward: ungated("shared_experts", hidden, shared, bias),
      }),
      ...(latent !== undefined && { latent: both }),
    };
  };
}

const FEED_FORWARD_KEYS = ["intermediate_size"];
const EXPERT_KEYS = [
  ...["n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "moe_shared_expert_intermediate_size"],
  ...["moe_latent_size", "n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor"],
];

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
  for (const key of ["time_step_limit", "time_step_max", "time_step_floor"]) {
    config.ignore(key, "transformers clamps by time_step_min alone");
  }
  config.ignore("expand", "heads and head size say the width");
  config.ignore("mamba_proj_bias", "use_bias says it");
  config.ignore("n_shared_experts", "there is one, whatever it says");
  for (const key of ["chunk_size", "residual_in_fp32", "moe_shared_expert_overlap"]) {
    config.ignore(key, "the same sums, computed otherwise");
  }
  config.ignore("rescale_prenorm_residual", "training only: the first weights");
  for (const key of ["mtp_layers_block_type", "mtp_hybrid_override_pattern"]) {
    config.ignore(key, "of layers that predict further tokens, which change no other");
  }
}
