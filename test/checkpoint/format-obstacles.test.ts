// Of models that vLLM does not load with scales, its format is refused, before anything is computed, and is not proposed.

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { VLLM_FAMILIES } from "../../src/checkpoint/engine-families.js";
import { formatWarnings, requireFormatOfModel } from "../../src/checkpoint/format-obstacles.js";
import { UnsupportedModelError } from "../../src/errors.js";
import { calibrate, planCalibration } from "../../src/pipeline/calibrate.js";
import { convert } from "../../src/pipeline/convert.js";
import { temporaryFolder } from "../helpers/golden-checkpoints.js";
import { writeGoldenResult } from "../helpers/golden-results.js";

const REFUSED = [...VLLM_FAMILIES].filter(([, rule]) => rule === "refuses").map(([modelType]) => modelType);

test.each(REFUSED)("%s: vLLM's format is refused, and others warn", (model_type) => {
  expect(() => requireFormatOfModel("vllm", { model_type })).toThrow(UnsupportedModelError);
  for (const format of ["tgi", "tgi-separate"] as const) {
    expect(() => requireFormatOfModel(format, { model_type })).not.toThrow();
  }
  expect(formatWarnings({ model_type })).toEqual([expect.stringContaining(`"${model_type}" that has KV scales`)]);
});

test.each([{ model_type: "llama" }, { model_type: "not-yet-invented" }, {}])("of %j, none is", (config) => {
  expect(() => requireFormatOfModel("vllm", config)).not.toThrow();
  expect(formatWarnings(config)).toEqual([]);
});

// The goldens have no tokenizer: what comes after the check would fail otherwise.
describe.each(["lfm2-adjusted", "lfm2_moe-bias"])(
  "of %s, it is refused before anything is read or computed by",
  (name) => {
    const message =
      /Format vllm: vLLM 0\.32 has no place for KV scales in model_type "lfm2.* --format tgi or tgi-separate .*at 1\.0/;

    test.each([
      ["a calibration", calibrate],
      ["its dry run", planCalibration],
      ["a conversion", convert],
    ])("%s", async (_what, run) => {
      const root = await temporaryFolder();
      const model = await writeGoldenResult(root, name, "tgi");
      const refused = run({ model, format: "vllm", output: join(root, "out") });
      await expect(refused).rejects.toThrow(UnsupportedModelError);
      await expect(refused).rejects.toThrow(message);
    });
  },
);
