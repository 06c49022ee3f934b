// What float16 does not hold is computed again in the provider's wide arithmetic, with a warning; nothing else is.

import { describe, expect, test } from "vitest";
import type { Decoder, DecoderLayer } from "../../src/architectures/description.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, ProviderError } from "../../src/errors.js";
import type { ComputeType } from "../../src/graphs/arithmetic.js";
import type { ComputePlan } from "../../src/pipeline/compute-plan.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { inArithmeticThatHolds, NotFiniteError } from "../../src/pipeline/wider-arithmetic.js";
import { PROVIDERS, type ProviderName } from "../../src/runtime/providers.js";
import { copyGolden, expectedOf, measureFolder, poke } from "../helpers/golden-checkpoints.js";

const OVERFLOW = new NotFiniteError("Layer 0: K has values that are not finite");
const WITHOUT_FLOAT16 = new ProviderError(
  "ONNX Runtime (webgpu) failed in layer 0: Gemm requires f16 but the device …",
);

/** A decoder without layers: its attention needs no trial, for which there might be no device. */
const NO_ATTENTION = { layers: [] as readonly DecoderLayer[] } as Decoder;

function planOf(provider: ProviderName, elementType: ComputeType): ComputePlan {
  const { arithmetic } = PROVIDERS[provider];
  return {
    provider,
    arithmetic: { ...arithmetic.F16, elementType },
    segmentBytes: 1,
    layerBytes: 1,
    batchTokens: 1024,
    dequantizes: "in-each-run",
  };
}

/** Work that fails in the element types given, and what it was tried in. */
function workThatFails(errors: Partial<Record<ComputeType, Error>>) {
  const tried: ComputeType[] = [];
  const work = async ({ arithmetic: { elementType } }: ComputePlan) => {
    tried.push(elementType);
    const error = errors[elementType];
    if (error !== undefined) throw error;
    return `done in ${elementType}`;
  };
  return { tried, work };
}

describe("a run is repeated in the wide arithmetic", () => {
  test.each<[what: string, ProviderName, Error, wide: ComputeType, warning: RegExp]>([
    ["on WebGPU in float32", "webgpu", OVERFLOW, "float32", /beyond the range of float16.* in float32 instead/],
    ["on CUDA in bfloat16", "cuda", OVERFLOW, "bfloat16", /beyond the range of float16.* in bfloat16 instead/],
    ["when the device has no float16", "webgpu", WITHOUT_FLOAT16, "float32", /The device has no float16.* in float32/],
  ])("%s", async (_what, provider, error, wide, warning) => {
    const { tried, work } = workThatFails({ float16: error });
    const held = await inArithmeticThatHolds(planOf(provider, "float16"), NO_ATTENTION, work);
    expect(held.result).toBe(`done in ${wide}`);
    expect(held.plan.arithmetic).toEqual(PROVIDERS[provider].wideArithmetic);
    expect(held.warnings).toEqual([expect.stringMatching(warning)]);
    expect(tried).toEqual(["float16", wide]);
  });
});

describe("a run is not repeated", () => {
  test("when float16 holds it, and nothing is said", async () => {
    const plan = planOf("webgpu", "float16");
    const { tried, work } = workThatFails({});
    expect(await inArithmeticThatHolds(plan, NO_ATTENTION, work)).toEqual({
      result: "done in float16",
      plan,
      warnings: [],
    });
    expect(tried).toEqual(["float16"]);
  });

  test.each<[what: string, ProviderName, ComputeType, Error]>([
    ["after another error of the provider", "webgpu", "float16", new ProviderError("device lost")],
    ["after another error of the checkpoint", "webgpu", "float16", new CheckpointError("too short")],
    ["when bfloat16 overflows: nothing is wider there", "cuda", "bfloat16", OVERFLOW],
    ["when float32 overflows", "cpu", "float32", OVERFLOW],
  ])("%s", async (_what, provider, elementType, error) => {
    const { tried, work } = workThatFails({ [elementType]: error });
    await expect(inArithmeticThatHolds(planOf(provider, elementType), NO_ATTENTION, work)).rejects.toBe(error);
    expect(tried).toEqual([elementType]);
  });

  test("twice: what overflows in the wide arithmetic, too, is the error", async () => {
    const again = new NotFiniteError("Layer 1: V has values that are not finite");
    const { tried, work } = workThatFails({ float16: OVERFLOW, float32: again });
    await expect(inArithmeticThatHolds(planOf("webgpu", "float16"), NO_ATTENTION, work)).rejects.toBe(again);
    expect(tried).toEqual(["float16", "float32"]);
  });
});

describe("a model beyond float16, measured in float16", () => {
  const NAME = "llama-mha";
  const { token_ids: tokenIds } = expectedOf(NAME);
  /** 2¹⁷ in bfloat16: float16 ends at 65504. */
  const BEYOND_FLOAT16 = 0x4800;
  const BFLOAT16_NAN = 0x7fc0;

  async function measureInFloat16(folder: string) {
    const checkpoint = await openCheckpoint(folder);
    const decoder = describeModel(checkpoint.config, checkpoint.tensors);
    // The CPU has the kernels of WebGPU's arithmetic, too.
    const { arithmetic } = planOf("webgpu", "float16");
    const plan = { ...planOf("cpu", "float32"), arithmetic };
    return measureRanges({ checkpoint, decoder, tokenIds, plan });
  }

  test("has the ranges of float32, and a warning says so", async () => {
    const folder = await copyGolden(NAME);
    await poke(folder, "model.layers.1.self_attn.v_proj.weight", 5, BEYOND_FLOAT16);
    const { ranges, elementType, warnings } = await measureInFloat16(folder);
    expect(ranges).toEqual(await measureFolder(folder, tokenIds, { segmentBytes: 1 }));
    expect(ranges[1]?.v.absmax).toBeGreaterThan(1000);
    expect(elementType).toBe("float32");
    expect(warnings).toEqual([expect.stringMatching(/beyond the range of float16.* in float32 instead/)]);
  });

  test("is an error that names the layer when it is damaged", async () => {
    const folder = await copyGolden(NAME);
    await poke(folder, "model.layers.1.self_attn.v_proj.weight", 5, BFLOAT16_NAN);
    const error = await measureInFloat16(folder).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toHaveProperty("message", expect.stringContaining("Layer 1: V"));
  });

  test("within float16 it stays there", async () => {
    const { elementType, warnings } = await measureInFloat16(await copyGolden(NAME));
    expect({ elementType, warnings }).toEqual({ elementType: "float16", warnings: [] });
  });
});
