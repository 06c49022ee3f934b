// The text part of ERNIE 4.5 VL: ERNIE 4.5 with experts, and M-RoPE. The experts and the router of images stand behind
// those of text, and no token of text reaches them. Routers are stored inputs first.

import { CheckpointError } from "../../errors.js";
import type { Block } from "../blocks.js";
import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import {
  checkPerToken,
  expertsOf,
  gatedAt,
  type MixtureSizes,
  mixture,
  mixtureOrDense,
  mlpLayerTypes,
  OVER_SUM,
  scoreRouter,
} from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readActivation, readParts, readSizes } from "../sizes.js";
import { tensorSource } from "../weight-source.js";
import { readReleasedMixture } from "./ernie4-5-vl-released.js";

export function describeErnie45VlMoe(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 4 });
  const { hidden, layers } = sizes;
  const bias = config.boolean("use_bias", false);
  const released = readReleasedMixture(config, layers);
  const experts: MixtureSizes = {
    hidden,
    experts: released?.experts ?? readParts(config, "moe_num_experts", 64),
    perToken: config.positiveInteger("moe_k", 6),
    intermediate: readWidth(config),
    activation: readActivation(config),
  };
  checkPerToken(config, "moe_k", experts);
  const shared = experts.intermediate * config.count("moe_num_shared_experts", released?.sharedByDefault ?? 2);
  const floor = config.positiveNumber("moe_norm_min", 1e-12);
  const hasExperts =
    released?.hasExperts ?? mlpLayerTypes(config, layers) ?? Array.from({ length: layers }, (_, layer) => layer > 0);
  const mixtureAt = (prefix: string): Block => {
    const logits = tensorSource(`${prefix}.gate.weight`, [hidden, experts.experts]);
    const corrections = tensorSource(`${prefix}.moe_statics.e_score_correction_bias`, [2, experts.experts]);
    const router = scoreRouter(`${prefix}.gate`, experts, {
      logits: { weight: { ...logits, stored: "inputs-first" }, inputs: hidden, outputs: experts.experts },
      correction: { kind: "rows", of: corrections, start: 0, end: 1 },
      normalised: { ...OVER_SUM, floor },
    });
    const feedForward = gatedAt(`${prefix}.shared_experts`, hidden, { ...experts, intermediate: shared, bias });
    return mixture(router, expertsOf(`${prefix}.experts`, experts), shared > 0 ? { feedForward } : undefined);
  };
  const decoder = llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    rope: { defaultTheta: 500_000, hasSections: true },
    pairing: "neighbours",
    epsilon: 1e-5,
    tied: true,
    feedForward: mixtureOrDense(config, hidden, hasExperts, ({ feedForward }) => mixtureAt(feedForward), { bias }),
  });
  const unread = (layer: number) =>
    hasExperts[layer] ? { unread: ofImages(names.layer(layer).feedForward, experts) } : {};
  return { ...decoder, layers: decoder.layers.map((layer) => ({ ...layer, ...unread(layer.index) })) };
}

/** Of an expert of text, the first of two numbers; the other is that of an expert of images. */
function readWidth(config: ModelConfig): number {
  const key = "moe_intermediate_size";
  const [width, ofImages, ...more] = config.optionalNumbers(key) ?? [1536, 512];
  if (Number.isSafeInteger(width) && width !== undefined && width > 0 && ofImages !== undefined && more.length === 0) {
    return width;
  }
  throw new CheckpointError(
    `${config.nameOf(key)}: expected two positive integers, the widths of an expert of text and of one of images, found ${shortJson(config.peek(key))}`,
  );
}

/** Tensors that only tokens of images reach. */
function ofImages(prefix: string, { experts }: MixtureSizes): string[] {
  const numbers = Array.from({ length: experts }, (_, index) => experts + index);
  const parts = numbers.flatMap((number) =>
    ["gate_proj", "up_proj", "down_proj"].map((part) => `${prefix}.experts.${number}.${part}.weight`),
  );
  return [`${prefix}.gate.weight_1`, ...parts];
}
