// Embeddings and output heads that are quantized, too. Heads are read, and goldens hold their logits; here is what is said
// where one is wrong. Embeddings are refused by the name of their tensor.

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
test("a head that is quantized, though a list leaves it out, is refused by its tensor and the list", async () => {
  const { config, tensors } = await withCodes("compressed-tensors-int8", HEAD, INT8);
  expect(() => describeModel(config, tensors)).toThrow(
    /^a\.safetensors: tensor "lm_head\.weight": found I8, but .*\(compressed-tensors\) says that "lm_head" is not quantized/,
  );
});

test("a head in words without its scales is refused by its tensor", async () => {
  const { config, tensors } = await openCheckpoint(join(GOLDEN_FOLDER, "quantized", "gptq-4-head"));
  const without = new Map([...tensors].filter(([name]) => name !== "lm_head.scales"));
  expect(() => describeModel(config, without)).toThrow(
    /tensor "lm_head\.qweight": expected "lm_head\.scales" beside it/,
  );
});

test("a head of 16 bits may stand where a method would quantize it: engines leave that to the tensors", async () => {
  const { config, tensors } = await openCheckpoint(join(GOLDEN_FOLDER, "quantized", "compressed-tensors-int8"));
  const block = { ...(config.quantization_config as Json), ignore: [] };
  const decoder = describeModel({ ...config, quantization_config: block }, tensors);
  expect(describeModelEnd(tensors, decoder).head).toMatchObject({ kind: "tensor", name: "lm_head.weight" });
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
