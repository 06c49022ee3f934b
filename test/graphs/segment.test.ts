// A segment's graph: which inputs it asks for and which outputs it has, by the parts that it is made of.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { buildSegment, SEGMENT_VALUES } from "../../src/graphs/segment.js";
import type { SegmentPart } from "../../src/graphs/segment-parts.js";
import { planSegments } from "../../src/pipeline/segment-plan.js";
import { weightLocations } from "../../src/pipeline/weight-locations.js";
import { goldenFolder } from "../helpers/golden-checkpoints.js";

const BATCH_INPUTS = ["mask", "last_positions", "total_tokens", "cos", "sin"];
const rangesOf = (layer: number) =>
  ["absmax_k", "sum_of_squares_k", "absmax_v", "sum_of_squares_v"].map((name) => `${name}_${layer}`);

const checkpoint = await openCheckpoint(goldenFolder("llama-gqa"));
const decoder = describeModel(checkpoint.config, checkpoint.tensors);
const [first, second, last] = decoder.layers.map((layer) => ({ kind: "layer", layer }) as const);
const keysValues = last && ({ kind: "keys-values", layer: last.layer } as const);
const embedding = { kind: "embedding" } as const;

function partsOf(...parts: readonly (SegmentPart | undefined)[]): SegmentPart[] {
  return parts.filter((part) => part !== undefined);
}

describe("a segment", () => {
  test.each<[string, SegmentPart[], string[], string[]]>([
    ["of the embedding alone turns ids into hidden states", partsOf(embedding), ["token_ids"], ["next_hidden"]],
    [
      "of a layer takes hidden states and gives the next",
      partsOf(second),
      ["hidden", ...BATCH_INPUTS],
      [...rangesOf(1), "next_hidden"],
    ],
    [
      "of the embedding and layers takes ids",
      partsOf(embedding, first, second),
      ["token_ids", ...BATCH_INPUTS],
      [...rangesOf(0), ...rangesOf(1), "next_hidden"],
    ],
    [
      "that ends with K and V alone gives no hidden states",
      partsOf(second, keysValues),
      ["hidden", ...BATCH_INPUTS],
      [...rangesOf(1), ...rangesOf(2)],
    ],
  ])("%s", (_rule, parts, inputs, outputs) => {
    const graph = buildSegment(decoder, parts, weightLocations(checkpoint).locate);
    expect(graph.inputs.map(({ name }) => name)).toEqual(inputs);
    expect(graph.outputs.map(({ name }) => name)).toEqual(outputs);
  });

  test("names no weight that its parts do not use", () => {
    const graph = buildSegment(decoder, partsOf(keysValues), weightLocations(checkpoint).locate);
    const weights = graph.initializers.map(({ name }) => name).filter((name) => name.startsWith("model."));
    expect(weights.toSorted()).toEqual([
      "model.layers.2.input_layernorm.weight",
      "model.layers.2.self_attn.k_proj.weight",
      "model.layers.2.self_attn.v_proj.weight",
    ]);
  });

  test("holds no byte of a weight: every one is external data in its shard", () => {
    const graph = buildSegment(decoder, partsOf(embedding, first), weightLocations(checkpoint).locate);
    for (const { name, data } of graph.initializers.filter((initializer) => initializer.name.startsWith("model."))) {
      const stored = checkpoint.tensors.get(name);
      expect(data).toEqual({ location: "model.safetensors", offset: stored?.offset, byteLength: stored?.byteLength });
    }
  });

  test("has outputs of every layer under names of their own", () => {
    const names = [0, 1, 11].flatMap((layer) =>
      (["k", "v"] as const).flatMap((side) => [
        SEGMENT_VALUES.absmax(side, layer),
        SEGMENT_VALUES.sumOfSquares(side, layer),
      ]),
    );
    expect(new Set(names).size).toBe(12);
  });
});

describe("segments are filled up to a number of bytes", () => {
  const bytesOf = (name: string) => checkpoint.tensors.get(name)?.byteLength ?? 0;
  const embeddingBytes = bytesOf(decoder.embedding.weight);
  // 48 × 48 of q and o, twice 16 × 48 of k and v, three of 48 × 64, two norms of 48: held in float32.
  const layerBytes = 4 * (2 * 48 * 48 + 2 * 16 * 48 + 3 * 48 * 64 + 2 * 48);

  test.each([
    ["everything in one when it fits", 2 ** 30, ["the embedding and layers 0–2"]],
    ["one part each when nothing fits", 1, ["the embedding", "layer 0", "layer 1", "layer 2"]],
    ["a layer joins when it just fits", embeddingBytes + layerBytes, ["the embedding and layer 0", "layers 1–2"]],
    ["and not when a byte is missing", embeddingBytes + layerBytes - 1, ["the embedding", "layer 0", "layers 1–2"]],
  ])("%s", (_rule, segmentBytes, purposes) => {
    const segments = planSegments(decoder, { segmentBytes, elementType: "float32" }, bytesOf);
    expect(segments.map(({ purpose }) => purpose)).toEqual(purposes);
    expect(segments.flatMap(({ parts }) => parts.map(({ kind }) => kind))).toEqual([
      "embedding",
      "layer",
      "layer",
      "keys-values",
    ]);
  });
});
