// Checkpoints whose model_type is supported and whose blocks are not are refused, and the message says why.

import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { ARCHITECTURES, describeModel } from "../../src/architectures/registry.js";
import { LLAMA_NAMES } from "../../src/architectures/tensor-names.js";
import { UnsupportedModelError } from "../../src/errors.js";

const FOLDER = new URL("../golden/refused/", import.meta.url);

/** What each message must say. */
const REASONS: Readonly<Record<string, RegExp>> = {
  "falcon-alibi": /config\.json: alibi: true is not supported: .*bias that grows with the distance/,
  "opt-350m": /config\.json: do_layer_norm_before: false is not supported: norms would come after the sum/,
};

test.each(await readdir(FOLDER))("%s", async (name) => {
  const config = JSON.parse(await readFile(new URL(`${name}/config.json`, FOLDER), "utf8"));
  const { anchor } = ARCHITECTURES[config.model_type]?.names ?? LLAMA_NAMES;
  const tensors = new Map([[`model.${anchor}`, { shape: [1], dtype: "F32", file: "model.safetensors" }]]);
  const describing = () => describeModel(config, tensors);
  expect(describing).toThrow(UnsupportedModelError);
  expect(describing).toThrow(REASONS[name] ?? /^$/);
});
