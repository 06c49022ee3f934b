// ERNIE 4.5 VL's config.json as released describes the decoder that transformers' own conversion of it describes
// (convert_ernie4_5_vl_moe_to_hf.py), whose numbers the goldens hold.

import { describe, expect, test } from "vitest";
import { describeConfig, describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, UnsupportedModelError } from "../../src/errors.js";
import { configOf, goldenFolder, type Json } from "../helpers/golden-checkpoints.js";

const GOLDEN = "ernie4_5_vl_moe-plain";
const golden = configOf(GOLDEN);
const text = golden.text_config as Json;

/** In transformers' form, with layers that the released form can express. */
const converted = (types: readonly string[]): Json => ({ ...golden, text_config: { ...text, mlp_layer_types: types } });

const { mlp_layer_types: _, rope_parameters: _rope, model_type: _type, ...shared } = text;

/** The same as released. */
const RELEASED: Json = {
  ...shared,
  ...{ model_type: "ernie4_5_moe_vl", architectures: golden.architectures, vision_config: golden.vision_config },
  ...{ tie_word_embeddings: golden.tie_word_embeddings, rope_theta: 1000, rope_3d: true },
  rope_scaling: { type: "default", mrope_section: [1, 1, 2] },
  ...{ moe_num_experts: [6, 6], moe_layer_start_index: [1, 1], moe_layer_end_index: [29, 28], moe_layer_interval: 1 },
  ...{ moe_gate: "topk", moe_use_aux_free: true, use_rmsnorm: true, moe_capacity: [128, 128, 128] },
  ...{ im_patch_id: 100_295, pixel_hidden_size: 16, spatial_conv_size: 2, temporal_conv_size: 2 },
  ...{ image_start_token_id: 101_304, image_end_token_id: 101_305, video_start_token_id: 101_306 },
  moe_multimodal_dispatch_use_allgather: "v2-alltoall-unpad-text",
};

/** What its own code adds when it saves. */
const SAVED_AGAIN: Json = {
  ...{
    compression_ratio: 1,
    enable_delay_scale_loss: true,
    freq_allocation: 20,
    fuse_attn_ffn: true,
    ignored_index: -100,
  },
  ...{
    loss_subbatch_seqlen: 8192,
    micro_batch_size: -1,
    mm_vocab_size: 0,
    moe_all_to_all_dropout: 0,
    moe_group: "world",
  },
  ...{ moe_aux_loss_lambda: 0.01, moe_dense_experts_token_type_id: 3, moe_dropout_prob: 0, moe_gate_act: "softmax" },
  ...{ moe_group_orthogonal_loss: true, moe_norm_gate_logits: true, moe_orthogonal_loss_lambda: 0.01 },
  ...{ moe_use_hard_gate: true, moe_z_loss_lambda: 0.0001, num_acc_steps: 1, pp_seg_method: "layer:ErnieDecoderLayer" },
  ...{ recompute_granularity: "core_attn", sinkhorn_2gate: true, sinkhorn_temp: 0.03, tensor_parallel_degree: 1 },
  ...{ use_flash_attention: true, use_sparse_flash_attn: true, use_temporal_conv: true, weight_share_add_bias: true },
  ...{ attention_probs_dropout_prob: 0, hidden_dropout_prob: 0, initializer_range: 0.2, moe_fuse_experts: false },
};

const decoderOf = (config: Json) => describeConfig(config).decoder;
const OF_DECODER = ["dense", "sparse", "sparse"];

describe("the released form", () => {
  test.each<[string, Json]>([
    ["as released", {}],
    ["without rope_scaling, as Paddle's", { rope_scaling: null }],
    ["one number for both kinds of layers", { moe_layer_start_index: 1, moe_layer_end_index: 2 }],
    ["as its own code saves it again", SAVED_AGAIN],
  ])("%s, describes what the converted one does", (_form, changes) => {
    expect(decoderOf({ ...RELEASED, ...changes })).toEqual(decoderOf(converted(OF_DECODER)));
  });

  test("layers with experts begin with the first of either kind, and are an interval apart", () => {
    const apart = { moe_layer_start_index: [2, 0], moe_layer_end_index: [0, 2], moe_layer_interval: 2 };
    expect(decoderOf({ ...RELEASED, ...apart })).toEqual(decoderOf(converted(["dense", "sparse", "dense"])));
  });

  test("without moe_num_shared_experts there are none", () => {
    const { moe_num_shared_experts: _, ...without } = RELEASED;
    expect(decoderOf(without)).toEqual(decoderOf({ ...RELEASED, moe_num_shared_experts: 0 }));
  });

  test("is held against the tensors of a checkpoint", async () => {
    const { tensors } = await openCheckpoint(goldenFolder(GOLDEN));
    // Its first layer has experts.
    expect(() => describeModel(RELEASED, tensors)).toThrow(/layers\.0\.mlp\./);
    const dense = new Map([...tensors].filter(([name]) => !name.includes("layers.0.mlp.")));
    for (const part of ["gate_proj", "up_proj", "down_proj"]) {
      const found = tensors.get(`model.layers.1.mlp.${part}.weight`) ?? expect.fail(part);
      dense.set(`model.layers.0.mlp.${part}.weight`, found);
    }
    for (const [name, found] of tensors) {
      if (name.includes("layers.2.mlp.")) dense.set(name.replace("layers.2", "layers.1"), found);
    }
    for (const part of ["gate_proj", "up_proj", "down_proj"]) dense.delete(`model.layers.1.mlp.${part}.weight`);
    expect(describeModel(RELEASED, dense)).toEqual(describeModel(converted(OF_DECODER), dense));
  });

  test.each<[string, Json, RegExp, typeof CheckpointError | typeof UnsupportedModelError]>([
    [
      "as many experts of images as of text",
      { moe_num_experts: [6, 4] },
      /moe_num_experts: expected the same number of experts twice, .*found \[6,4\]/,
      CheckpointError,
    ],
    ["a gate that is not top-k", { moe_gate: "top2" }, /moe_gate: "top2" is not understood/, UnsupportedModelError],
    [
      "weights divided by their sum",
      { moe_norm_gate_logits: false },
      /moe_norm_gate_logits: false is not understood/,
      UnsupportedModelError,
    ],
    [
      "positions as they are counted",
      { compression_ratio: 0.5 },
      /compression_ratio: 0\.5 is not understood/,
      UnsupportedModelError,
    ],
  ])("needs %s", (_rule, changes, message, kind) => {
    expect(() => decoderOf({ ...RELEASED, ...changes })).toThrow(kind);
    expect(() => decoderOf({ ...RELEASED, ...changes })).toThrow(message);
  });
});
