// Models with a block that is not computed token by token: --generate is refused by its name, before prompts are read.

import { expect, test } from "vitest";
import { UnsupportedModelError } from "../../src/errors.js";
import { verify } from "../../src/pipeline/verify.js";
import { planVerification } from "../../src/pipeline/verify-dry-run.js";
import { goldenFolder } from "../helpers/golden-checkpoints.js";

// They have no tokenizer, which would be missed first.
test.each([
  ["lfm2-adjusted", "short-convolution"],
  ["qwen3_5_text-plain", "gated-delta-net"],
  ["nemotron_h-dense", "state-space"],
  ["jamba-moe", "selective-scan"],
  ["llama4_text-chunked", "attention in chunks of positions"],
  ["gemma3n_text-shared", "per-layer-input"],
])("%s: %s", async (name, block) => {
  for (const run of [verify, planVerification]) {
    const refused = run({ model: goldenFolder(name), generate: {} });
    await expect(refused).rejects.toThrow(UnsupportedModelError);
    await expect(refused).rejects.toThrow(`--generate: this model has a block of the kind "${block}"`);
  }
});
