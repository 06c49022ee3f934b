// What CUDA is given in bfloat16: a kernel that is not there is known only when a session opens on a GPU, which tests do
// not have. So every operator that a graph feeds bfloat16 must be one of those that ran so on a GPU.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { buildSegment } from "../../src/graphs/segment.js";
import type { SegmentPart } from "../../src/graphs/segment-parts.js";
import { ELEMENT_TYPES, type ElementType, type Graph, type Node } from "../../src/onnx/model-proto.js";
import { weightLocations } from "../../src/pipeline/weight-locations.js";
import { PROVIDERS } from "../../src/runtime/providers.js";
import { GOLDEN_NAMES, goldenFolder } from "../helpers/golden-checkpoints.js";

/** Operators that ran in bfloat16 on an NVIDIA H100, ONNX Runtime 1.30. */
const RAN = new Set([
  ...["Add", "Cast", "Concat", "FusedMatMul", "GatedRMSNorm", "Gather", "Gelu", "GroupQueryAttention", "MatMul", "Mul"],
  ...["QuickGelu", "ReduceSum", "Relu", "Reshape", "RotaryEmbedding", "Shape", "Sigmoid"],
  ...["SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "Slice", "Split", "Squeeze", "Sub", "Tanh"],
  "Unsqueeze",
]);

const BOOLEAN = /^(Equal|Less|LessOrEqual|Greater|GreaterOrEqual|And|Or|Not|IsNaN|IsInf)$/;

/** Of all outputs of a node but the second of TopK, by the types of its inputs. */
function typeOf({ type, attributes }: Node, inputs: readonly (ElementType | undefined)[]): ElementType | undefined {
  if (type === "Cast") {
    return (Object.keys(ELEMENT_TYPES) as ElementType[]).find((name) => ELEMENT_TYPES[name] === attributes.to);
  }
  if (BOOLEAN.test(type)) return "bool";
  if (/^(Shape|Size|NonZero|ArgMax)$/.test(type)) return "int64";
  if (type === "ConstantOfShape") return "float32";
  return type === "Where" || type === "DequantizeLinear" ? inputs[1] : inputs[0];
}

/** The operators that read a value in bfloat16. */
function fedBfloat16({ nodes, inputs, initializers }: Graph): Set<string> {
  const types = new Map([...inputs, ...initializers].map(({ name, elementType }) => [name, elementType]));
  const found = new Set<string>();
  for (const node of nodes) {
    const read = node.inputs.map((name) => (name === "" ? undefined : types.get(name)));
    if (read.includes("bfloat16")) found.add(node.type);
    const type = typeOf(node, read);
    for (const [index, output] of node.outputs.entries()) {
      const isPlaces = node.type === "TopK" && index === 1;
      if (isPlaces) types.set(output, "int64");
      else if (type !== undefined) types.set(output, type);
    }
  }
  return found;
}

describe("every operator that reads bfloat16 on CUDA ran so on a GPU", () => {
  test.each(GOLDEN_NAMES)("%s", async (name) => {
    const checkpoint = await openCheckpoint(goldenFolder(name));
    const decoder = describeModel(checkpoint.config, checkpoint.tensors);
    const parts: SegmentPart[] = [
      { kind: "embedding" },
      ...decoder.layers.map((layer) => ({ kind: "layer", layer }) as const),
    ];
    const arithmetic = PROVIDERS.cuda.arithmetic.BF16;
    const graph = buildSegment(decoder, parts, weightLocations(checkpoint).locate, { arithmetic });
    expect([...fedBfloat16(graph)].filter((operator) => !RAN.has(operator))).toEqual([]);
  });
});
