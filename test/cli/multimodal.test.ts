// A multimodal checkpoint from end to end: its text decoder is calibrated, and the result says what was not measured.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { calibrationOf, type ExampleFolder, makeExample } from "../helpers/example-checkpoint.js";
import type { Json } from "../helpers/golden-checkpoints.js";
import { runMain } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

/** The example as the decoder of LLaVA, under the names of released files, with a projection of its tower. */
function makeMultimodalExample(): ExampleFolder {
  const example = makeExample(temporaryFolder());
  const configPath = join(example.model, "config.json");
  const text = JSON.parse(readFileSync(configPath, "utf8")) as Json;
  const config = { model_type: "llava", image_token_index: 127, vision_config: { hidden_size: 16 }, text_config: text };
  writeFileSync(configPath, JSON.stringify({ ...config, vision_feature_layer: -2 }));
  const weights = join(example.model, "model.safetensors");
  const bytes = readFileSync(weights);
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Json;
  const entries = Object.entries(header).map(([name, value]) => [
    name === "__metadata__" ? name : `language_model.${name}`,
    value,
  ]);
  const renamed = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(renamed.length));
  writeFileSync(weights, Buffer.concat([size, renamed, bytes.subarray(8 + length)]));
  writeFileSync(join(example.model, "preprocessor_config.json"), "{}");
  return example;
}

test("is calibrated, says once what was not measured, is verified, and read by vLLM", async () => {
  const example = makeMultimodalExample();
  const calibrated = await runMain([...calibrationOf(example, "--format", "vllm"), "--json"]);
  expect(calibrated).toMatchObject({ exitCode: 0 });
  const result = JSON.parse(calibrated.stdout) as { model_type: string; not_measured: string[]; warnings: string[] };
  expect(result).toMatchObject({ model_type: "llama", not_measured: ["image"] });
  expect(result.warnings.filter((warning) => /image/.test(warning))).toEqual([
    expect.stringMatching(/^Only text was measured/),
  ]);

  const record = JSON.parse(readFileSync(join(example.output, "kv_scales.json"), "utf8")) as Json;
  expect(record).toMatchObject({
    not_measured: ["image"],
    layers: [{ name: "language_model.model.layers.0.self_attn" }, {}, {}],
  });
  const config = JSON.parse(readFileSync(join(example.output, "config.json"), "utf8")) as Json;
  expect(config).toMatchObject({ model_type: "llava", quantization_config: { quant_method: "compressed-tensors" } });

  const inspected = await runMain(["inspect", example.output, "--engine", "vllm"]);
  expect(inspected).toMatchObject({ exitCode: 0 });
  const verified = await runMain(["verify", example.output, "--data", example.prompts, "--json"]);
  expect(JSON.parse(verified.stdout)).toMatchObject({ model_type: "llama" });
  const converted = await runMain([
    "convert",
    example.output,
    "--format",
    "tgi",
    "-o",
    join(example.root, "converted"),
  ]);
  expect(converted).toMatchObject({ exitCode: 0 });
  const next = JSON.parse(readFileSync(join(example.root, "converted", "kv_scales.json"), "utf8")) as Json;
  expect(next.not_measured).toEqual(["image"]);
});
