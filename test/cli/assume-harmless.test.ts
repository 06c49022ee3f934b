// A key of config.json that is not understood, end to end: refused by name, and accepted when the user answers for it,
// which is on record.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { calibrationOf, type ExampleFolder, makeExample } from "../helpers/example-checkpoint.js";
import { runMain } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

const WRONG_USAGE = 2;
const NOT_SUPPORTED = 4;
const VERIFICATION_FAILED = 6;
const ACCEPTED = ["--assume-harmless", "layer_scale", "--assume-harmless", "deep"];

type Json = Record<string, unknown>;

function readJson(...path: readonly string[]): Json {
  return JSON.parse(readFileSync(join(...path), "utf8")) as Json;
}

function exampleWith(keys: Json): ExampleFolder {
  const example = makeExample(temporaryFolder());
  const config = readJson(example.model, "config.json");
  writeFileSync(join(example.model, "config.json"), JSON.stringify({ ...config, ...keys }));
  return example;
}

test("calibrate and verify refuse it, accept it on request, and kv_scales.json records that", async () => {
  const example = exampleWith({ layer_scale: 2, deep: { gain: 3 } });
  const calibration = [...calibrationOf(example), "--provider", "cpu", "--quiet"];
  const refused = await runMain(calibration);
  expect(refused).toMatchObject({ exitCode: NOT_SUPPORTED, stdout: "" });
  expect(refused.stderr).toContain("layer_scale: 2 is not understood");
  expect(refused.stderr).toContain("accept it with --assume-harmless layer_scale");
  const half = await runMain([...calibration, "--assume-harmless", "layer_scale"]);
  expect(half).toMatchObject({ exitCode: NOT_SUPPORTED });
  expect(half.stderr).toContain('deep: {"gain":3} is not understood');

  expect(await runMain([...calibration, ...ACCEPTED])).toMatchObject({ exitCode: 0 });
  expect(readJson(example.output, "kv_scales.json")).toMatchObject({ assumed_harmless: ["layer_scale", "deep"] });

  const verification = ["verify", example.output, "--data", example.prompts, "--provider", "cpu", "--quiet"];
  const notVerified = await runMain(verification);
  expect(notVerified).toMatchObject({ exitCode: NOT_SUPPORTED, stdout: "" });
  expect(notVerified.stderr).toContain("accept it with --assume-harmless layer_scale");
  const verified = await runMain([...verification, ...ACCEPTED]);
  // It got as far as a verdict: the example's weights are random, which is what this one says.
  expect(verified).toMatchObject({ exitCode: VERIFICATION_FAILED, stdout: "baseline-broken\n" });
});

test("it changes no scale, and without it nothing is recorded", async () => {
  const scalesOf = async (keys: Json, ...options: readonly string[]) => {
    const example = exampleWith(keys);
    expect(await runMain([...calibrationOf(example), "--quiet", "--provider", "cpu", ...options])).toMatchObject({
      exitCode: 0,
    });
    return readJson(example.output, "kv_scales.json");
  };
  const plain = await scalesOf({});
  const accepted = await scalesOf({ layer_scale: 2 }, "--assume-harmless", "layer_scale");
  expect(plain).not.toHaveProperty("assumed_harmless");
  expect(accepted.layers).toEqual(plain.layers);
});

test("a key that config.json does not have is wrong usage, and nothing is written", async () => {
  const example = exampleWith({ layer_scale: 2 });
  const misspelled = ["--assume-harmless", "layer_scal", "--provider", "cpu", "--quiet"];
  const message = 'Error: --assume-harmless: config.json has no key "layer_scal".';
  const calibrated = await runMain([...calibrationOf(example), ...misspelled]);
  expect(calibrated).toMatchObject({ exitCode: WRONG_USAGE, stdout: "", stderr: expect.stringContaining(message) });
  expect(existsSync(example.output)).toBe(false);
  const verified = await runMain(["verify", example.model, "--data", example.prompts, ...misspelled]);
  expect(verified).toMatchObject({ exitCode: WRONG_USAGE, stdout: "", stderr: expect.stringContaining(message) });
});

test("what was accepted, once however often it was said, stays on record when scales are converted", async () => {
  const example = exampleWith({ layer_scale: 2, deep: { gain: 3 } });
  const twice = [...ACCEPTED, ...ACCEPTED];
  const calibration = [...calibrationOf(example), "--format", "vllm", "--provider", "cpu", "--quiet"];
  expect(await runMain([...calibration, ...twice])).toMatchObject({ exitCode: 0 });
  const converted = join(temporaryFolder(), "converted");
  expect(await runMain(["convert", example.output, "--format", "tgi", "-o", converted])).toMatchObject({ exitCode: 0 });
  for (const folder of [example.output, converted]) {
    expect(readJson(folder, "kv_scales.json")).toMatchObject({ assumed_harmless: ["layer_scale", "deep"] });
    expect(await runMain(["inspect", folder])).toMatchObject({ exitCode: 0, stderr: "" });
  }
});
