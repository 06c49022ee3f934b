// What ERNIE 4.5 VL's config.json says of experts in the form of its releases, which are older than transformers' class: one
// number for text and one for images in a list, and layers with experts by their first and last. Knows no tensor.

import { CheckpointError } from "../../errors.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { MAX_PARTS } from "../sizes.js";
import { everyLayerBetween } from "./ernie4-5-moe.js";

const AS_HERE = "what this family is anyway";
const TRAINING = "of training, or how the original code runs";
const EQUAL_POSITIONS = "positions of text are equal on all axes";
const IMAGES = "of images: prompts are text";

export interface ReleasedMixture {
  readonly experts: number;
  /** By layer. */
  readonly hasExperts: readonly boolean[];
  /** Number of shared experts that is taken for an absent key. */
  readonly sharedByDefault: number;
}

/**
 * Undefined where config.json is in transformers' form.
 * @throws CheckpointError for numbers of experts that are none, or that differ between text and images
 */
export function readReleasedMixture(config: ModelConfig, layers: number): ReleasedMixture | undefined {
  if (!Array.isArray(config.peek("moe_num_experts"))) return undefined;
  ignoreReleasedKeys(config);
  const first = Math.min(...numbersOf(config, "moe_layer_start_index"));
  const last = Math.max(...numbersOf(config, "moe_layer_end_index"));
  const interval = config.positiveInteger("moe_layer_interval", 1);
  return {
    experts: readExperts(config),
    hasExperts: everyLayerBetween(layers, { first, last, interval }),
    sharedByDefault: 0,
  };
}

function readExperts(config: ModelConfig): number {
  const key = "moe_num_experts";
  const numbers = config.optionalNumbers(key) ?? [];
  const [experts = 0, ofImages] = numbers;
  const isCount = Number.isSafeInteger(experts) && experts > 0 && experts <= MAX_PARTS;
  if (isCount && experts === ofImages && numbers.length === 2) return experts;
  throw new CheckpointError(
    `${config.nameOf(key)}: expected the same number of experts twice, of text and of images, found ${shortJson(numbers)}`,
  );
}

/** One number, or one for text and one for images. */
function numbersOf(config: ModelConfig, key: string): number[] {
  if (!Array.isArray(config.peek(key))) return [config.number(key)];
  const numbers = config.optionalNumbers(key) ?? [];
  if (numbers.length > 0) return numbers;
  throw new CheckpointError(`${config.nameOf(key)}: expected a layer's number, or one for text and one for images`);
}

/** Those of the releases, and those that their own code adds when it saves. */
function ignoreReleasedKeys(config: ModelConfig): void {
  config.ignoreIf("moe_gate", [undefined, "topk"], AS_HERE);
  config.ignoreIf("moe_gate_act", [undefined, "softmax"], AS_HERE);
  config.ignoreIf("moe_norm_gate_logits", [undefined, true], AS_HERE);
  config.ignoreIf("moe_use_hard_gate", [undefined, true], AS_HERE);
  config.ignoreIf("moe_use_aux_free", [undefined, true], AS_HERE);
  config.ignoreIf("use_rmsnorm", [undefined, true], AS_HERE);
  config.ignoreIf("weight_share_add_bias", [undefined, true], AS_HERE);
  config.ignoreIf("compression_ratio", [undefined, 1], AS_HERE);
  for (const key of ["rope_3d", "freq_allocation"]) config.ignore(key, EQUAL_POSITIONS);
  for (const key of OF_IMAGES) config.ignore(key, IMAGES);
  for (const key of OF_TRAINING) config.ignore(key, TRAINING);
}

const OF_IMAGES = [
  ...["im_patch_id", "max_text_id", "mm_vocab_size", "pixel_hidden_size", "spatial_conv_size", "temporal_conv_size"],
  ...["use_temporal_conv", "moe_dense_experts_token_type_id"],
];

const OF_TRAINING = [
  ...["moe_capacity", "moe_multimodal_dispatch_use_allgather", "moe_group", "moe_all_to_all_dropout"],
  ...["moe_aux_loss_lambda", "moe_dropout_prob", "moe_group_orthogonal_loss", "moe_orthogonal_loss_lambda"],
  ...["moe_z_loss_lambda", "enable_delay_scale_loss", "sinkhorn_2gate", "sinkhorn_temp", "ignored_index"],
  ...["loss_subbatch_seqlen", "micro_batch_size", "num_acc_steps", "pp_seg_method", "recompute_granularity"],
  ...["tensor_parallel_degree", "fuse_attn_ffn", "use_flash_attention", "use_sparse_flash_attn"],
];
