// What callers of the library may give without a compiler's help: each is a UsageError that names the option, before
// anything is read, computed or written.

import { describe, expect, test } from "vitest";
import { calibrate, convert, diff, inspect, UsageError, verify } from "../../src/index.js";

type Call = (options: never) => Promise<unknown>;
const FUNCTIONS: Readonly<Record<string, Call>> = { calibrate, convert, diff, inspect, verify };
const COMPUTING: Readonly<Record<string, Call>> = { calibrate, verify };
const FORMAT = { format: "vllm" };

async function refusal(call: Call, options: unknown): Promise<string> {
  const error: unknown = await call(options as never).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UsageError);
  return error instanceof Error ? error.message : "";
}

describe.each(Object.entries(FUNCTIONS))("%s", (name, call) => {
  test.each([undefined, null, "org/name", 1])("called with %j says that it takes options", async (options) => {
    expect(await refusal(call, options)).toMatch(/^Expected options, such as \{ model: "org\/name" \}/);
  });

  test.each([undefined, "", 7, null, ["a"]])("with the model %j says what a model is", async (model) => {
    const message = await refusal(
      call,
      name === "diff" ? { a: model, b: "org/b" } : { ...(name === "convert" ? FORMAT : {}), model },
    );
    expect(message).toMatch(/^(a|model): expected a checkpoint folder or a hub id \(org\/name\), found /);
  });
});

describe.each(Object.entries(COMPUTING))("%s refuses", (_name, call) => {
  test.each<[string, unknown]>([
    ["samples", 0],
    ["samples", 1.5],
    ["sequenceLength", "2048"],
    ["seed", -1],
    ["seed", 2 ** 32],
    ["provider", "gpu"],
    ["memory", "4GiB"],
    ["memory", 0],
    ["devices", 0],
    ["devices", [-1]],
    ["data", 5],
    ["revision", ""],
    ["assumeHarmless", "key"],
  ])("%s: %j", async (option, value) => {
    expect(await refusal(call, { model: "nowhere", [option]: value })).toMatch(new RegExp(`^${option}: expected `));
  });
});

test.each<[string, unknown, string]>([
  ["headroom", "more", 'a number from 1 to 16, or "auto", found "more"'],
  ["headroom", 0.9, 'a number from 1 to 16, or "auto", found 0.9'],
  ["samples", "all", 'a whole number from 1, or "auto", found "all"'],
  ["servingTokens", 0, "a whole number from 1, found 0"],
  ["servingTokens", 1.5, "a whole number from 1, found 1.5"],
  ["exceedance", 5, "a number from 0.001 to 0.5, found 5"],
  ["exceedance", "5%", 'a number from 0.001 to 0.5, found "5%"'],
])("calibrate refuses %s: %j", async (option, value, message) => {
  expect(await refusal(calibrate, { model: "nowhere", [option]: value })).toBe(`${option}: expected ${message}`);
});

test.each<[string, number]>([
  ["minAgreement", 1.5],
  ["minAgreement", -0.1],
  ["maxKl", -1],
  ["maxKl", Number.POSITIVE_INFINITY],
  ["maxPerplexityIncrease", Number.NaN],
])("a threshold beyond its range is refused: %s of %d", async (name, value) => {
  const message = await refusal(verify, { model: "nowhere", thresholds: { [name]: value } });
  expect(message).toMatch(new RegExp(`^thresholds\\.${name}: expected a number from 0`));
});

describe("arms", () => {
  test("without anything to compare with: which may be added, and how", async () => {
    const message = await refusal(verify, { model: "nowhere", arms: ["fp8"] });
    expect(message).toBe(
      "arms: expected 16-bit or exact among them, to compare the others with; found fp8. Write --arms 16-bit,fp8.",
    );
  });

  test("without the baseline that was asked for", async () => {
    const message = await refusal(verify, { model: "nowhere", arms: ["16-bit", "fp8"], baseline: "exact" });
    expect(message).toMatch(/^baseline: exact is not among the arms \(16-bit, fp8\)\. Write --arms exact,16-bit,fp8/);
  });

  test("that are no list, or unknown", async () => {
    expect(await refusal(verify, { model: "nowhere", arms: "fp8" })).toMatch(/^arms: expected a list of exact/);
    expect(await refusal(verify, { model: "nowhere", arms: ["fp4"] })).toMatch(/^arms: expected one of exact/);
  });
});
