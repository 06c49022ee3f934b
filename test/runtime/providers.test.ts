// The table of providers: what every entry must keep, whoever adds one.

import { describe, expect, test } from "vitest";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import { PROVIDERS, type Provider } from "../../src/runtime/providers.js";

const ENTRIES = Object.entries<Provider>(PROVIDERS);

test("the CPU is the last and runs everywhere, so that auto always ends with one that works", () => {
  expect(ENTRIES.at(-1)?.[0]).toBe("cpu");
  expect(PROVIDERS.cpu).not.toHaveProperty("systems");
});

describe.each(ENTRIES)("%s", (name, provider) => {
  const forms = [...Object.values<Arithmetic>(provider.arithmetic), provider.wideArithmetic];

  test("has the name that ONNX Runtime knows it by", () => {
    expect(provider.executionProvider).toBe(name);
  });

  test("has a wide arithmetic with float32's exponents for what float16 does not hold", () => {
    expect(["float32", "bfloat16"]).toContain(provider.wideArithmetic.elementType);
  });

  test("writes norms out in float32 alone: sums of squares leave float16, and need more than 8 bits", () => {
    const narrow = forms.filter(({ elementType }) => elementType !== "float32");
    expect(narrow.map(({ norm }) => norm)).toEqual(narrow.map(() => "fused"));
  });

  test("chooses among devices only when it computes on one", () => {
    expect(provider.usesDevice || !provider.choosesDevice).toBe(true);
  });

  test("fills segments and batches with something", () => {
    expect(provider.defaultSegmentBytes).toBeGreaterThanOrEqual(2 ** 20);
    expect(provider.batchTokens).toBeGreaterThanOrEqual(512);
  });
});
