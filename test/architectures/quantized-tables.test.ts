// Embeddings and output heads that are quantized, too: the message names the tensor. Calibration computes no logits, so a
// quantized head is in its way only where it is the embedding.

import { join } from "node:path";
import { expect, test } from "vitest";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { UnsupportedModelError } from "../../src/errors.js";
import { GOLDEN_FOLDER, type Json } from "../helpers/golden-checkpoints.js";

type Tensor = { readonly shape: readonly number[]; readonly dtype: string; readonly file: string };
type Parts = Readonly<Record<string, readonly [dtype: string, ...shape: number[]]>>;

const HEAD = "lm_head";
const EMBEDDING = "model.embed_tokens";

/** A golden with other tensors in place of a module's weight. */
async function withCodes(golden: string, module: string, codes: Parts) {
  const { config, tensors } = await openCheckpoint(join(GOLDEN_FOLDER, "quantized", golden));
  const copies = new Map<string, Tensor>();
  for (const [name, { shape, dtype }] of tensors) copies.set(name, { shape, dtype, file: "a.safetensors" });
  copies.delete(`${module}.weight`);
  for (const [part, [dtype, ...shape]] of Object.entries(codes)) {
    copies.set(`${module}.${part}`, { shape, dtype, file: "a.safetensors" });
  }
  return { config, tensors: copies };
}

const INT8: Parts = { weight: ["I8", 72, 32], weight_scale: ["BF16", 72, 1] };
const PACKED: Parts = { weight_packed: ["I32", 72, 4], weight_scale: ["BF16", 72, 2], weight_shape: ["I64", 2] };
const WORDS: Parts = {
  ...{ qweight: ["I32", 4, 72], qzeros: ["I32", 4, 9], scales: ["F16", 4, 72] },
  g_idx: ["I32", 32],
};

test.each<[string, string, Parts, string]>([
  ["int8 of compressed-tensors", "compressed-tensors-int8", INT8, "weight"],
  ["integers of 4 bits of compressed-tensors", "compressed-tensors-packed4-zero", PACKED, "weight_packed"],
  ["GPTQ with lm_head", "gptq-4-order", WORDS, "qweight"],
])("a head in %s leaves calibration alone, and cannot be verified", async (_form, golden, codes, named) => {
  const { config, tensors } = await withCodes(golden, HEAD, codes);
  const block = {
    ...(config.quantization_config as Json),
    ...(golden.startsWith("gptq") ? { lm_head: true } : { ignore: [] }),
  };
  const decoder = describeModel({ ...config, quantization_config: block }, tensors);
  const run = () => describeModelEnd(tensors, decoder);
  expect(run).toThrow(UnsupportedModelError);
  expect(run).toThrow(
    new RegExp(
      `^a\\.safetensors: tensor "lm_head\\.${named}": the output head is quantized \\(I\\d+\\).*verify the 16-bit`,
    ),
  );
});

test.each<[string, string, Parts, string]>([
  ["int8 of compressed-tensors", "compressed-tensors-int8", INT8, "weight"],
  ["integers of 4 bits of compressed-tensors", "compressed-tensors-packed4-zero", PACKED, "weight_packed"],
])("an embedding in %s is refused before anything is computed", async (_form, golden, codes, named) => {
  const { config, tensors } = await withCodes(golden, EMBEDDING, codes);
  const run = () => describeModel(config, tensors);
  expect(run).toThrow(UnsupportedModelError);
  expect(run).toThrow(
    new RegExp(`^a\\.safetensors: tensor "model\\.embed_tokens\\.${named}": the embedding is quantized .*--onto`),
  );
});
