// Hunyuan with experts: in every layer, beside one for every token; how many a token is sent to may differ by layer.

import { UnsupportedModelError } from "../../errors.js";
import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { checkPerToken, expertsOf, gatedAt, type MixtureSizes, mixture, OVER_SUM, scoreRouter } from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { MAX_PARTS, readActivation, readSizes } from "../sizes.js";
import { ignoreHunyuanKeys } from "./hunyuan-v1-dense.js";

const AS_HERE = "what this family is anyway";

export function describeHunyuanV1Moe(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const { hidden, layers } = sizes;
  ignoreHunyuanKeys(config, sizes);
  const intermediate = config.positiveInteger("intermediate_size");
  ignoreIfAll(config, "moe_intermediate_size", intermediate);
  ignoreIfAll(config, "num_shared_expert", 1);
  config.ignoreIf("use_mixed_mlp_moe", [true], AS_HERE);
  config.ignoreIf("moe_layer_num_skipped", [0], AS_HERE);
  config.ignoreIf("norm_topk_prob", [true], AS_HERE);
  config.ignoreIf("routed_scaling_factor", [1], AS_HERE);
  const bias = config.boolean("attention_bias", false);
  const [experts = 1, ...others] = readPerLayer(config, "num_experts", layers);
  const other = others.find((count) => count !== experts);
  if (other !== undefined) {
    throw new UnsupportedModelError(
      `${config.nameOf("num_experts")}: layers with ${experts} and with ${other} experts are not supported`,
    );
  }
  const perToken = readPerLayer(config, config.has("moe_topk") ? "moe_topk" : "num_experts_per_tok", layers);
  for (const count of perToken) checkPerToken(config, "moe_topk", { perToken: count, experts });
  const activation = readActivation(config);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    queryKeyNorms: "after-rotation",
    rope: { hasAlpha: true },
    epsilon: 1e-5,
    feedForward: ({ feedForward }, layer) => {
      const cut: MixtureSizes = { hidden, experts, perToken: perToken[layer] ?? 1, intermediate, activation };
      const router = scoreRouter(`${feedForward}.gate.wg`, cut, { normalised: OVER_SUM });
      const shared = gatedAt(`${feedForward}.shared_mlp`, hidden, cut);
      return mixture(router, expertsOf(`${feedForward}.experts`, cut), { feedForward: shared });
    },
  });
}

/** One number for all layers, or a list with one for each. */
function readPerLayer(config: ModelConfig, key: string, layers: number): number[] {
  const value = config.raw(key) ?? 1;
  const list: unknown[] = Array.isArray(value) ? value : Array.from({ length: layers }, () => value);
  const numbers = list.filter(
    (entry): entry is number => Number.isSafeInteger(entry) && Number(entry) > 0 && Number(entry) <= MAX_PARTS,
  );
  if (numbers.length === layers && list.length === layers) return numbers;
  throw new UnsupportedModelError(
    `${config.nameOf(key)}: expected a positive integer up to ${MAX_PARTS}, or ${layers} of them, one per layer, found ${shortJson(value)}`,
  );
}

/** A number or list with the value that this family always has; any other is left unread and refused. */
function ignoreIfAll(config: ModelConfig, key: string, expected: number): void {
  if (!config.has(key)) return;
  const value: unknown = config.peek(key);
  const entries: unknown[] = Array.isArray(value) ? value : [value];
  if (entries.every((entry) => entry === expected)) config.ignore(key, AS_HERE);
}
