// What config.json says of experts, read under its old and its new names; what contradicts itself is refused.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { configOf, goldenFolder, type Json } from "../helpers/golden-checkpoints.js";

async function describeChanged(name: string, changes: Json) {
  const { tensors } = await openCheckpoint(goldenFolder(name));
  const { num_local_experts, ...config } = configOf(name);
  return describeModel({ ...config, num_local_experts, ...changes }, tensors);
}

describe("the number of experts", () => {
  test.each([{ num_experts: 6 }, { num_experts: 6, num_local_experts: null }])("may be said as %j", async (changes) => {
    const asWritten = await describeChanged("qwen3_moe-plain", {});
    expect(await describeChanged("qwen3_moe-plain", changes)).toEqual(asWritten);
  });

  test("is refused when two names of it contradict each other", async () => {
    await expect(describeChanged("qwen3_moe-plain", { num_experts: 5 })).rejects.toThrow(
      "config.json: num_local_experts: 6 contradicts num_experts, which is 5",
    );
  });
});

test.each([
  ["mixtral-plain", { num_experts_per_tok: 7 }, "num_experts_per_tok: expected at most 6"],
  ["dots1-groups-window", { n_group: 4 }, "n_group: expected groups of two experts or more, all of one size"],
  ["dots1-groups-window", { n_group: 6 }, "n_group: expected groups of two experts or more, all of one size"],
  ["dots1-groups-window", { topk_group: 4 }, "topk_group: expected groups that have 2 experts for a token"],
  ["dots1-groups-window", { topk_group: 1, num_experts_per_tok: 3 }, "topk_group: expected groups that have 3 experts"],
  ["exaone_moe-plain", { mlp_layer_types: ["dense"] }, "mlp_layer_types: expected 3 entries"],
  [
    "hunyuan_v1_moe-alpha-per-layer",
    { moe_topk: [2, 1] },
    "moe_topk: expected a positive integer up to 16384, or 3 of them",
  ],
  [
    "hunyuan_v1_moe-plain",
    { num_experts: [6, 6, 5] },
    "num_experts: layers with 6 and with 5 experts are not supported",
  ],
  ["hunyuan_v1_moe-plain", { moe_intermediate_size: [8, 8, 9] }, "moe_intermediate_size: [8,8,9] is not understood"],
  ["minimax_m2-plain", { attn_type_list: [1, 0, 1] }, "attn_type_list: 0 is not understood"],
  ["minimax_m2-plain", { shared_intermediate_size: 8 }, "shared_intermediate_size: 8 is not understood"],
  ["dots1-plain", { scoring_func: "softmax" }, 'scoring_func: "softmax" is not understood'],
])("%s with %j is refused", async (name, changes, message) => {
  await expect(describeChanged(name, changes)).rejects.toThrow(`config.json: ${message}`);
});

describe("layers that predict further tokens", () => {
  test("are passed over, as many as config.json says", async () => {
    expect((await describeChanged("glm4_moe-next-layer", {})).layers).toHaveLength(3);
  });

  test("are refused where config.json says there are none", async () => {
    await expect(describeChanged("glm4_moe-next-layer", { num_nextn_predict_layers: 0 })).rejects.toThrow(
      "has no place in model_type",
    );
  });
});
