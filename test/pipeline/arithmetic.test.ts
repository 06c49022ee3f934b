// Every form of arithmetic that a provider asks for means the same: in float32 on the CPU, each gives what transformers
// finds. What is left to a device is its kernels and the width of its numbers.

import { describe, expect, test } from "vitest";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import { buildGenerationLoop } from "../../src/graphs/generation-loop.js";
import { buildSegment } from "../../src/graphs/segment.js";
import { ELEMENT_TYPES, type Graph } from "../../src/onnx/model-proto.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { EMBEDDED_EXAMPLE } from "../../src/pipeline/run-options.js";
import { weightLocations } from "../../src/pipeline/weight-locations.js";
import { PROVIDERS, type Provider, type ProviderName, type StoredType } from "../../src/runtime/providers.js";
import { expectedOf, goldenFolder } from "../helpers/golden-checkpoints.js";

/** Head sizes with and without padding, q/k norms, windows, chunks, biases, other gates, sinks, experts, long rotations, tied weights; streams, embeddings per layer; recurrences. */
const CHECKPOINTS = [
  "llama-gqa",
  "llama-head-dim",
  "llama-gelu",
  "llama-mlp-bias",
  "llama-rope-dynamic",
  "llama-f32",
  "mistral-sliding-window",
  "qwen2-large-key-bias",
  "qwen3-qk-norm",
  "gpt_oss-plain",
  // Experts that are stacked: weights over their sum; a sum that is multiplied, and a shared expert.
  "qwen3_moe-normalized",
  "glm4_moe-plain",
  "llama4_text-chunked",
  "mimo_v2_flash-plain",
  "gemma3_text-plain",
  "gemma4_text-e-model-bare",
  "gemma3n_text-shared",
  "qwen3_next-moe",
  "olmo_hybrid-rope-bias",
];
const TOLERANCE = 1e-5;

function formsAskedFor(): [string, Arithmetic][] {
  const forms = Object.values<Provider>(PROVIDERS).flatMap(({ arithmetic, wideArithmetic, checksAttention }) => {
    const own = [...Object.values<Arithmetic>(arithmetic), wideArithmetic];
    // What attention is replaced by where a trial finds the operator wrong.
    return checksAttention ? [...own, ...own.map((form) => ({ ...form, attention: "written-out" }) as const)] : own;
  });
  const named = forms.map((form): [string, Arithmetic] => {
    const { elementType: _, product, ...operators } = form;
    const names = Object.entries(operators).map(([block, operator]) => `${block} ${operator}`);
    return [[product, ...names].join(", "), { ...form, elementType: "float32" }];
  });
  return [...new Map(named)];
}

describe.each(formsAskedFor())("%s", (_form, arithmetic) => {
  test.each(CHECKPOINTS)("%s", async (name) => {
    const { token_ids: tokenIds, absmax } = expectedOf(name);
    const checkpoint = await openCheckpoint(goldenFolder(name));
    const decoder = describeModel(checkpoint.config, checkpoint.tensors);
    const plan = { ...planCompute({ provider: "cpu", checkpoint, decoder }), arithmetic };
    const { ranges } = await measureRanges({ checkpoint, decoder, tokenIds, plan });
    const deviations = absmax.flatMap((heads, layer) =>
      (["k", "v"] as const).flatMap((side) =>
        heads[side].map((value, head) => Math.abs((ranges[layer]?.[side].perHead[head] ?? Number.NaN) / value - 1)),
      ),
    );
    expect(Math.max(...deviations)).toBeLessThan(TOLERANCE);
  });
});

const LARGEST_FLOAT16 = 65504;
const IN_FLOAT16 = Object.entries<Provider>(PROVIDERS).flatMap(([provider, { arithmetic }]) =>
  Object.entries(arithmetic)
    .filter(([, { elementType }]) => elementType === "float16")
    .map(([stored, form]) => [provider as ProviderName, stored as StoredType, form] as const),
);

/** Constants of the graph, and of graphs within it, that become float16: themselves or spread over a tensor. */
function constantsInFloat16({ nodes, initializers }: Graph): number[] {
  const within = nodes.flatMap(({ attributes }) =>
    Object.values(attributes).flatMap((attribute) =>
      typeof attribute === "object" && "graph" in attribute ? constantsInFloat16(attribute.graph) : [],
    ),
  );
  const valuesOf = (name: string | undefined): number[] => {
    const data = initializers.find((initializer) => initializer.name === name)?.data;
    if (data !== undefined) return data instanceof Uint8Array ? [...new Float32Array(data.slice().buffer)] : [];
    const maker = nodes.find(({ outputs }) => name !== undefined && outputs.includes(name));
    return maker?.type === "Expand" ? valuesOf(maker.inputs[0]) : [];
  };
  const cast = nodes.filter(({ type, attributes }) => type === "Cast" && attributes.to === ELEMENT_TYPES.float16);
  return [...within, ...cast.flatMap(({ inputs }) => valuesOf(inputs[0]))];
}

describe.each(IN_FLOAT16)("%s, weights in %s: what is computed in float16", (_provider, _stored, arithmetic) => {
  test("has no constant that float16 does not hold", async () => {
    const checkpoint = await openCheckpoint(EMBEDDED_EXAMPLE);
    const decoder = describeModel(checkpoint.config, checkpoint.tensors);
    const end = describeModelEnd(checkpoint.tensors, decoder);
    const { locate } = weightLocations(checkpoint);
    const parts = decoder.layers.map((layer) => ({ kind: "layer", layer }) as const);
    const segment = buildSegment(decoder, parts, locate, { arithmetic });
    const cache = { elementType: "float8_e4m3fn", largest: 448 } as const;
    const slices = [{ start: 0, end: decoder.vocabularySize }];
    const loop = buildGenerationLoop({ decoder, end, locate, cache, endIds: [], arithmetic, slices });
    expect(constantsInFloat16(loop).length).toBeGreaterThan(0);
    for (const constant of [...constantsInFloat16(segment), ...constantsInFloat16(loop)]) {
      expect(Math.abs(constant)).toBeLessThanOrEqual(LARGEST_FLOAT16);
    }
  });
});
