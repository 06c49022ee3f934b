// DBRX: q, k and v in one tensor and clipped, layer norms without bias, experts in three tensors, each with the
// matrices of all experts in a row, weighted by a softmax with an optional norm.

import { CheckpointError } from "../../errors.js";
import type { FeedForward } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { checkPerToken, type MixtureSizes, mixture, OVER_SUM, scoreRouter } from "../moe-parts.js";
import { decoderOf, type FamilyInput, groupedQuery, preNorm, rotateAll, rowsOfFused } from "../parts.js";
import { type Rope, readRope } from "../rope.js";
import { readActivation, readGptSizes, readParts } from "../sizes.js";
import { LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { tensorSource, type WeightSource } from "../weight-source.js";

export const DBRX_NAMES: NameTable = {
  ...LLAMA_NAMES,
  anchor: "blocks.0.norm_attn_norm.attn.Wqkv.weight",
  embedding: "wte",
  layers: "blocks",
  attention: "norm_attn_norm.attn",
  output: "out_proj",
  attentionNorm: "norm_attn_norm.norm_1",
  feedForward: "ffn",
  feedForwardNorm: "norm_attn_norm.norm_2",
  finalNorm: "norm_f",
};
/** transformers has no key for it. */
const EPSILON = 1e-5;

export function describeDbrx(input: FamilyInput): Decoder {
  const { config, names } = input;
  const ofAttention = config.object("attn_config");
  const kvHeads = ofAttention.positiveInteger("kv_n_heads", 1);
  const sizes = readGptSizes(config, { layers: "n_layers", hidden: "d_model", heads: "n_heads" }, kvHeads);
  config.ignore("max_seq_len", "limits prompts");
  config.ignoreIf("num_key_value_heads", [kvHeads], "says the same as attn_config.kv_n_heads");
  const { hidden, heads, headDim } = sizes;
  const rope = readDbrxRope(config, ofAttention, headDim);
  const clip = ofAttention.optionalPositiveNumber("clip_qkv");
  const { experts, normalised } = readExperts(config, hidden);
  const norm = (name: string) =>
    ({ kind: "layer", weight: tensorSource(`${name}.weight`, [hidden]), size: hidden, epsilon: EPSILON }) as const;
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const widths = [heads * headDim, kvHeads * headDim, kvHeads * headDim] as const;
      const [query, key, value] = rowsOfFused(`${layer.attention}.Wqkv`, hidden, widths);
      const differences = { rope: rotateAll(rope), query, key, value, ...(clip !== undefined && { clip }) };
      const router = scoreRouter(`${layer.feedForward}.router.layer`, experts, normalised);
      const block = mixture(router, expertsOneBehindTheOther(`${layer.feedForward}.experts.mlp`, experts));
      return [
        preNorm(norm(layer.attentionNorm), groupedQuery(layer, sizes, {}, differences)),
        preNorm(norm(layer.feedForwardNorm), block),
      ];
    },
    finalNorm: norm(names.finalNorm),
  });
}

const DEFAULT_THETA = 10_000;

/**
 * Published checkpoints say theta in attn_config, where engines read it. transformers 5 ignores it, and writes its own
 * default beside it.
 */
function readDbrxRope(config: ModelConfig, ofAttention: ModelConfig, headDim: number): Rope {
  const rope = readRope(config, headDim, { defaultTheta: DEFAULT_THETA });
  const theta = ofAttention.optionalPositiveNumber("rope_theta");
  if (theta === undefined || theta === rope.theta) return rope;
  if (rope.theta === DEFAULT_THETA) return { ...rope, theta };
  throw new CheckpointError(
    `${ofAttention.nameOf("rope_theta")}: ${theta} contradicts the rope_theta of the whole model, which is ${rope.theta}`,
  );
}

function readExperts(config: ModelConfig, hidden: number) {
  const ofExperts = config.object("ffn_config");
  const activation = ofExperts.optionalObject("ffn_act_fn");
  const experts: MixtureSizes = {
    hidden,
    experts: readParts(ofExperts, "moe_num_experts", 4),
    perToken: ofExperts.positiveInteger("moe_top_k", 1),
    intermediate: ofExperts.positiveInteger("ffn_hidden_size", 3584),
    activation: activation === undefined ? "silu" : readActivation(activation, "name"),
  };
  checkPerToken(ofExperts, "moe_top_k", experts);
  ofExperts.ignoreIf("hidden_size", [hidden], "says the same as d_model");
  ofExperts.ignore("moe_jitter_eps", "training only");
  ofExperts.ignore("moe_loss_weight", "training only");
  const p = readNorm(ofExperts);
  return { experts, normalised: p === undefined ? {} : { normalised: { ...OVER_SUM, p } } };
}

/** Absent is 1, null is none. */
function readNorm(ofExperts: ModelConfig): number | undefined {
  const key = "moe_normalize_expert_weights";
  return ofExperts.mentions(key) ? ofExperts.optionalPositiveNumber(key) : ofExperts.positiveNumber(key, 1);
}

function expertsOneBehindTheOther(
  prefix: string,
  { hidden, experts, intermediate, activation }: MixtureSizes,
): FeedForward[] {
  const stack = (name: string) => tensorSource(`${prefix}.${name}`, [experts * intermediate, hidden]);
  const [w1, v1, w2] = [stack("w1"), stack("v1"), { ...stack("w2"), stored: "inputs-first" as const }];
  return Array.from({ length: experts }, (_, index): FeedForward => {
    const part = (of: typeof w1): WeightSource => ({ kind: "expert", of, index, count: experts });
    return {
      kind: "feed-forward",
      activation,
      gate: { weight: part(w1), inputs: hidden, outputs: intermediate },
      up: { weight: part(v1), inputs: hidden, outputs: intermediate },
      down: { weight: part(w2), inputs: intermediate, outputs: hidden },
    };
  });
}
