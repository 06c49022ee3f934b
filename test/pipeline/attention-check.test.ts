// A provider's attention is tried out before a run. The devices here are ones that compute on the CPU and then spoil what
// they were asked for; test/cli/webgpu.test.ts has a real one.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { ProviderError } from "../../src/errors.js";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import type { AttentionShape } from "../../src/graphs/fused-attention.js";
import { checkAttention, type RunAttention, runAttention } from "../../src/pipeline/attention-check.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import { PROVIDERS, type ProviderName } from "../../src/runtime/providers.js";
import { withAttention } from "../helpers/descriptions.js";
import { goldenFolder } from "../helpers/golden-checkpoints.js";

type Form = Arithmetic["attention"];
/** Changes what a device gives. @param shape of the attention */
type Spoil = (output: Float32Array, shape: AttentionShape, lengths: readonly number[]) => void;

async function requestOf(name: string, provider: ProviderName = "webgpu") {
  const checkpoint = await openCheckpoint(goldenFolder(name));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  return { decoder, plan: planCompute({ provider, checkpoint, decoder }) };
}

/** A device on which some forms of attention go wrong. `asked` are the trials that it ran. */
function device(spoiled: Partial<Record<Form, Spoil>>) {
  const asked: { readonly form: Form; readonly shape: AttentionShape; readonly type: string }[] = [];
  const run: RunAttention = async (provider, arithmetic, shape, batches) => {
    const outputs = await runAttention("cpu", { ...arithmetic, elementType: "float32" }, shape, batches);
    if (provider === "cpu") return outputs;
    asked.push({ form: arithmetic.attention, shape, type: arithmetic.elementType });
    for (const [batch, lengths] of batches.entries()) {
      spoiled[arithmetic.attention]?.(outputs[batch] ?? new Float32Array(), shape, lengths);
    }
    return outputs;
  };
  return { run, asked };
}

/** Adds to one number of a token. */
function addTo(row: number, token: number, amount: number): Spoil {
  return (output, { heads, headDim }, lengths) => {
    if (row >= lengths.length) return;
    const at = (row * Math.max(...lengths) + token) * heads * headDim + 3;
    output[at] = (output[at] ?? Number.NaN) + amount;
  };
}

function attentionOf({ plan }: { readonly plan: ComputePlan }): Form {
  return plan.arithmetic.attention;
}

describe("where attention is right", () => {
  test.each<[string, Partial<Record<Form, Spoil>>]>([
    ["exactly", {}],
    ["but for what float16 rounds", { fused: addTo(0, 50, 0.01) }],
    ["but for padding, which nobody reads", { fused: addTo(1, 41, Number.NaN) }],
  ])("the plan stays as it is: %s", async (_rule, spoiled) => {
    const { plan, decoder } = await requestOf("llama-gqa");
    expect(await checkAttention(plan, decoder, device(spoiled).run)).toEqual({ plan, warnings: [] });
  });

  test("what is within the rounding of float16 is beyond that of float32", async () => {
    const { plan, decoder } = await requestOf("llama-gqa");
    const wide = { ...plan, arithmetic: PROVIDERS.webgpu.wideArithmetic };
    const { run } = device({ fused: addTo(0, 50, 0.01) });
    expect(attentionOf(await checkAttention(wide, decoder, run))).toBe("written-out");
  });
});

describe("where the operator is wrong, attention is written out, in smaller segments, and the reader is told", () => {
  test.each<[string, Spoil, string]>([
    ["at the last token of a prompt", addTo(0, 95, 0.2), "off by 0.20"],
    ["in the second prompt of a batch", addTo(1, 40, -0.26), "off by 0.26"],
    ["because it is not a number", addTo(0, 7, Number.NaN), "off by NaN"],
    ["because nothing was written", (output) => output.fill(0), "off by "],
  ])("%s", async (_rule, fused, words) => {
    const { plan, decoder } = await requestOf("llama-gqa");
    const checked = await checkAttention(plan, decoder, device({ fused }).run);
    expect(checked.plan).toEqual({
      ...plan,
      arithmetic: { ...plan.arithmetic, attention: "written-out" },
      segmentBytes: plan.segmentBytes / 2,
      layerBytes: plan.layerBytes / 2,
    });
    expect(checked.warnings).toEqual([expect.stringContaining(words)]);
    expect(checked.warnings[0]).toContain("webgpu");
  });

  test("in one kind of layer alone, even the last: with a window that hides something", async () => {
    const { plan, decoder } = await requestOf("qwen3-layer-types");
    const fused: Spoil = (output, shape, lengths) => {
      if (shape.slidingWindow !== undefined) addTo(0, 60, 0.5)(output, shape, lengths);
    };
    expect(attentionOf(await checkAttention(plan, decoder, device({ fused }).run))).toBe("written-out");
  });
});

test("where it is wrong written out, too, nothing is computed there", async () => {
  const { plan, decoder } = await requestOf("llama-gqa");
  const { run } = device({ fused: addTo(0, 3, 0.4), "written-out": addTo(0, 3, 0.3) });
  const error = await checkAttention(plan, decoder, run).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ProviderError);
  expect(error).toHaveProperty(
    "message",
    expect.stringMatching(/webgpu gives wrong values \(off by 0\.30.*--provider cpu/),
  );
});

test("an error of the device is its own", async () => {
  const { plan, decoder } = await requestOf("llama-gqa");
  const run: RunAttention = (provider, ...rest) => {
    if (provider !== "cpu") throw new ProviderError("the device is gone");
    return runAttention(provider, ...rest);
  };
  await expect(checkAttention(plan, decoder, run)).rejects.toThrow("the device is gone");
});

test("each kind of attention is tried once, in the plan's element type: with and without a window that bites", async () => {
  for (const [name, expected] of [
    ["llama-gqa", [{ heads: 6, kvHeads: 2, headDim: 8 }]],
    [
      "mistral-sliding-window",
      [
        { heads: 2, kvHeads: 2, headDim: 16 },
        { heads: 2, kvHeads: 2, headDim: 16, slidingWindow: 16 },
      ],
    ],
  ] as const) {
    const { plan, decoder } = await requestOf(name);
    const { run, asked } = device({});
    await checkAttention(plan, decoder, run);
    expect(asked).toEqual(expected.map((shape) => ({ form: "fused", type: "float16", shape })));
  }
});

test("a window longer than the trial's prompts is cut until it hides something of them", async () => {
  const { plan, decoder } = await requestOf("mistral-sliding-window");
  const { run, asked } = device({});
  await checkAttention(plan, withAttention(decoder, { slidingWindow: 4096 }), run);
  expect(asked.at(-1)?.shape.slidingWindow).toBeLessThan(64);
});

test.each(["cpu", "cuda"] as const)("%s is not tried out: its attention is known", async (provider) => {
  const { plan, decoder } = await requestOf("llama-gqa", provider);
  const { run, asked } = device({ fused: addTo(0, 0, 1) });
  expect(await checkAttention(plan, decoder, run)).toEqual({ plan, warnings: [] });
  expect(asked).toEqual([]);
});
