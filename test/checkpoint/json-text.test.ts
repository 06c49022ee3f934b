// JSON as Python's json module writes it is read where Python wrote it, and nowhere else.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ModelConfig } from "../../src/architectures/model-config.js";
import { patchConfigText } from "../../src/checkpoint/config-text.js";
import {
  parseJson,
  parsePythonJson,
  parsePythonJsonObject,
  showJson,
  withFiniteNumbers,
} from "../../src/checkpoint/json-text.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { OUTPUT_FORMATS } from "../../src/checkpoint/output-formats.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { CheckpointError } from "../../src/errors.js";
import { configOf, copyGolden } from "../helpers/golden-checkpoints.js";

// What Python's json.loads() gives for each.
test.each<[string, unknown]>([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
  ["[0.0, Infinity, -Infinity,NaN]", [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]],
  ['{"a": {"b": NaN}, "NaN": "Infinity"}', { a: { b: Number.NaN }, NaN: "Infinity" }],
  [
    '{"text": "NaN, \\"Infinity\\" and -Infinity", "score": NaN}',
    { text: 'NaN, "Infinity" and -Infinity', score: Number.NaN },
  ],
  ['{"__proto__": NaN}', Object.defineProperty({}, "__proto__", { value: Number.NaN, enumerable: true })],
  ["1e999", Number.POSITIVE_INFINITY],
])("%s is read as Python reads it", (text, expected) => {
  expect(parsePythonJson("f", text)).toStrictEqual(expected);
});

test.each([
  "-NaN",
  "nan",
  "inf",
  "+Infinity",
  "--Infinity",
  "NaNs",
  "1Infinity",
  "[NaN",
  "{NaN: 1}",
  "infinity",
  "Infinity1",
  '["NaN',
])("%s is no JSON for Python either", (text) => {
  expect(() => parsePythonJson("config.json", text)).toThrow("config.json: not valid JSON");
});

test("what is JSON already is the same", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(parsePythonJson("f", text)).toStrictEqual(JSON.parse(text));
      expect(withFiniteNumbers(text)).toBe(text);
    }),
  );
});

test("what is not written by Python stays strict: safetensors headers, tokenizer.json, our own records", () => {
  expect(() => parseJson("f", "[NaN]")).toThrow(CheckpointError);
});

test("messages show such numbers as they are", () => {
  expect(showJson([Number.NaN, Number.NEGATIVE_INFINITY, "NaN"])).toBe('[NaN,-Infinity,"NaN"]');
});

test("a number that is used is refused by name", () => {
  const config = new ModelConfig(parsePythonJsonObject("config.json", '{"rope_theta": NaN, "sizes": [1, Infinity]}'));
  expect(() => config.positiveNumber("rope_theta")).toThrow(
    "config.json: rope_theta: expected a positive number, found NaN",
  );
  expect(() => config.positiveInteger("rope_theta")).toThrow("rope_theta: expected a positive integer, found NaN");
  expect(() => config.optionalNumbers("sizes")).toThrow('sizes: expected a list of numbers, found [1,"Infinity"]');
});

describe("config.json with Infinity", () => {
  const text = JSON.stringify({ ...configOf("llama-gqa"), time_step_limit: [0, "∞"] }).replace('"∞"', "Infinity");

  test("is opened and surveyed", async () => {
    const folder = await copyGolden("llama-gqa");
    await writeFile(join(folder, "config.json"), text);
    const expected = [0, Number.POSITIVE_INFINITY];
    expect((await openCheckpoint(folder)).config.time_step_limit).toEqual(expected);
    expect((await surveyCheckpoint(folder)).config.time_step_limit).toEqual(expected);
  });

  test.each(['{"a": 1, "b": Infinity}', '{"b": -Infinity, "a": 1}', '{\n  "a": NaN\n}\n', '{"a": [0.0, Infinity]}'])(
    "%s keeps it when keys are written and removed",
    (before) => {
      const config = (json: string) => parsePythonJsonObject("config.json", json);
      const patched = patchConfigText(before, config(before), OUTPUT_FORMATS.vllm.config());
      expect(config(patched)).toMatchObject(config(before));
      expect(config(patched)).toHaveProperty("quantization_config");
      expect(patchConfigText(patched, config(patched), {})).toBe(before);
    },
  );
});
