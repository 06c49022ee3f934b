// The graph that generates a whole text: a Loop over the model, from token ids to the next token. GroupQueryAttention
// keeps its cache in the loop's state, because FP8 tensors cannot leave ONNX Runtime. Knows no session.

import type { Attention } from "../architectures/blocks.js";
import { cacheSites } from "../architectures/cache-sites.js";
import type { Decoder, ModelEnd } from "../architectures/description.js";
import { GraphBuilder, NONE, type Value } from "../onnx/graph-builder.js";
import { ELEMENT_TYPES, type Graph } from "../onnx/model-proto.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { type BatchInputs, cachedAttention } from "./attention.js";
import { type GraphContext, sizeOf } from "./blocks.js";
import { embed } from "./crossing-values.js";
import type { CodedRounding } from "./decode-step.js";
import { type BlockRecorder, type ResidualStream, recordResiduals, sumOfStream } from "./decoder-layer.js";
import { experts } from "./experts.js";
import type { CacheBuffers, Rotation } from "./fused-attention.js";
import { logitsOf, type VocabularySlice } from "./head.js";
import type { Side } from "./kv-cache.js";
import {
  emptyBuffers,
  type HeldBuffers,
  holdBuffers,
  lostByOperator,
  readOperatorCache,
  requireBufferType,
} from "./operator-cache.js";
import { rotationInputs } from "./segment.js";
import { cast, GraphWeights, type LocateWeight } from "./weights.js";

/** Names of the inputs and outputs. */
export const GENERATION_VALUES = {
  // There are also the rotation tables, as in a segment. Their number of positions is the capacity of the cache, which
  // must be larger than the number of tokens that it will ever hold.
  promptIds: "prompt_ids", // int64 [1, prompt]
  maxNewTokens: "max_new_tokens", // int64 [], at least 1
  tokens: "tokens", // [generated, 1, 1]: including the one that ended the text
  /** 0 where all logits were finite, NaN where one was not. */
  check: "check", // [generated, 1]
  /** 0 where the operator kept the contents of its FP8 cache, anything else where it did not; only for an FP8 cache. */
  lost: "lost", // [generated]
  /** Shapes of the buffers, a row for each: K of the first layer, V of the first layer, … */
  bufferShapes: "buffer_shapes", // [2 × layers, 4]
} as const;

/**
 * Version of the operators. CUDA has kernels for the Loop, Identity and Shape of versions 19 and 20, and 20 has Gelu.
 * With a later version ONNX Runtime would run the loop, and so the cache, on the CPU.
 */
export const GENERATION_OPSET = 20;

export interface GenerationLoopRequest {
  readonly decoder: Decoder;
  readonly end: ModelEnd;
  readonly locate: LocateWeight;
  /** What the cache keeps. */
  readonly cache: CodedRounding;
  /** Tokens that end a text. */
  readonly endIds: readonly number[];
  readonly arithmetic: Arithmetic;
  /** Slices of the output head: no tensor is larger than one of them in float32. */
  readonly slices: readonly VocabularySlice[];
}

/** Builds the graph, which generates one text at a time. */
export function buildGenerationLoop(request: GenerationLoopRequest): Graph {
  const { decoder, arithmetic } = request;
  const builder = new GraphBuilder();
  // Weights are values of the outer graph, so that they are cast once and not for every token.
  const weights = new GraphWeights(builder, request.locate);
  const table = (name: string, shape: readonly (number | string)[]) =>
    cast(builder, builder.input(name, "float32", shape), "float32", arithmetic.elementType);
  const promptIds = builder.input(GENERATION_VALUES.promptIds, "int64", [1, "prompt"]);
  const maxNewTokens = builder.input(GENERATION_VALUES.maxNewTokens, "int64", []);
  const rotations = rotationInputs(decoder, table, "capacity");
  const promptTokens = sizeOf(builder, promptIds, 1);
  const type = requireBufferType(request.cache, arithmetic);
  const capacity = capacityOf(builder, rotations);
  const empty = emptyBuffers(builder, cacheSites(decoder), type, capacity).flatMap(bothSides);
  const buffers = empty.length;
  const isFloat8 = type === "float8_e4m3fn";
  const body = builder.subgraph((inner) =>
    recordStep({ builder: inner, weights, arithmetic: { ...arithmetic, experts: "one-by-one" } }, request, {
      promptTokens,
      capacity,
      rotations,
    }),
  );
  const hasTokens = builder.op("Cast", [maxNewTokens], { attributes: { to: ELEMENT_TYPES.bool } });
  // Nobody needs the unread token, but ONNX Runtime crashes when a state of the loop is no output.
  const results = builder.ops(
    "Loop",
    [maxNewTokens, hasTokens, promptIds, ...empty],
    1 + buffers + (isFloat8 ? 3 : 2),
    {
      attributes: { body },
    },
  );
  const shapes = results.slice(1, 1 + buffers).map((buffer) => {
    const shape = cast(builder, builder.op("Shape", [buffer]), "int64", "float32");
    return builder.op("Unsqueeze", [shape, builder.int64s([0])]); // [1, 4]
  });
  const [tokens, check, lost] = results.slice(1 + buffers) as [Value, Value, Value?];
  builder.output(tokens, GENERATION_VALUES.tokens, "float32", ["generated", 1, 1]);
  builder.output(check, GENERATION_VALUES.check, "float32", ["generated", 1]);
  if (lost !== undefined) builder.output(lost, GENERATION_VALUES.lost, "float32", ["generated"]);
  const joined = builder.op("Concat", shapes, { attributes: { axis: 0 } });
  builder.output(joined, GENERATION_VALUES.bufferShapes, "float32", [buffers, 4]);
  return builder.finish();
}

/** Number of positions in the tables. int64 [1] */
function capacityOf(builder: GraphBuilder, [rotation]: readonly Rotation[]): Value {
  if (rotation === undefined) throw new RangeError("without a rotation nothing says how long the cache is");
  return sizeOf(builder, rotation.cos, 0);
}

function bothSides({ key, value }: CacheBuffers): Value[] {
  return [key, value];
}

interface OuterValues {
  readonly promptTokens: Value; // int64 [1]
  readonly capacity: Value; // int64 [1]
  readonly rotations: readonly Rotation[]; // [capacity, dimensions / 2]
}

/** The tokens that a step reads: from `first` to before `total`. int64 [1] */
interface StepTokens {
  readonly first: Value;
  readonly total: Value;
}

/** The loop's body: reads the unread tokens (first the prompt, then one) and chooses the next. */
function recordStep(context: GraphContext, request: GenerationLoopRequest, outer: OuterValues): void {
  const { builder } = context;
  const { decoder, cache, endIds, arithmetic } = request;
  const type = requireBufferType(cache, arithmetic);
  const iteration = builder.input("iteration", "int64", []);
  builder.input("goes_on", "bool", []);
  const unread = builder.input("unread", "int64", [1, "unread"]);
  const total = builder.op("Add", [outer.promptTokens, iteration]); // [1]
  const step: StepTokens = { first: builder.op("Sub", [total, sizeOf(builder, unread, 1)]), total };
  const inputs = stepInputs(context, outer, step);
  const isBefore = type === "float8_e4m3fn" ? tokensBefore(builder, outer, step) : NONE;
  const presents: HeldBuffers[] = [];
  const lost: Value[] = [];
  let stream: ResidualStream = { hidden: embed(context, decoder, unread) };
  for (const layer of decoder.layers) {
    const attention = (block: Attention, x: Value) => {
      const { kvHeads, headDim } = block;
      const state = (side: Side) =>
        builder.input(`past_${side}_${layer.index}`, type, [1, kvHeads, "capacity", headDim]);
      const past = holdBuffers(builder, type, { key: state("k"), value: state("v") });
      const read = readOperatorCache(context, cache, { layer: layer.index }, past);
      const attended = cachedAttention(context, block, inputs, x, read);
      if (attended.present === undefined) throw new RangeError("attention kept no cache");
      const present = holdBuffers(builder, type, attended.present);
      presents.push(present);
      lost.push(...lostByOperator(builder, past, present, isBefore));
      return attended.output;
    };
    const recorder: BlockRecorder = { attention, experts: (block, x) => experts(context, block, x).output };
    stream = recordResiduals(context, layer.residuals, stream, recorder);
  }
  const logits = lastLogits(context, request, stream); // [1, 1, vocabulary]
  const token = builder.op("ArgMax", [logits], { attributes: { axis: -1, keepdims: 0, select_last_index: 0 } }); // [1, 1]
  builder.output(isNoneOf(builder, token, endIds), "goes_on_after", "bool", []);
  builder.output(token, "unread_after", "int64", [1, 1]);
  for (const [number, present] of presents.flatMap(bothSides).entries()) {
    builder.output(present, `present_${number}`, type, [1, "kv_heads", "capacity", "head_dim"]);
  }
  builder.output(cast(builder, token, "int64", "float32"), "token", "float32", [1, 1]);
  // 0 times anything finite is 0, and NaN otherwise. ReduceMax would ignore NaN.
  const zeros = builder.op("Mul", [logits, builder.float32(0)]);
  const check = builder.op("ReduceSum", [zeros, builder.int64s([1, 2])], { attributes: { keepdims: 0 } });
  builder.output(check, "check", "float32", [1]);
  if (lost.length > 0)
    builder.output(cast(builder, builder.op("Sum", lost), "float16", "float32"), "lost", "float32", []);
}

/** 1 for tokens that the cache holds at the beginning of a step, 0 for others. float16 [capacity, 1] */
function tokensBefore(builder: GraphBuilder, { capacity }: OuterValues, { first }: StepTokens): Value {
  const scalar = (x: Value) => builder.op("Squeeze", [x, builder.int64s([0])]);
  const [zero, one] = [scalar(builder.int64s([0])), scalar(builder.int64s([1]))];
  const positions = builder.op("Range", [zero, scalar(capacity), one]); // [capacity]
  const isBefore = builder.op("Less", [positions, first]);
  const numbers = builder.op("Cast", [isBefore], { attributes: { to: ELEMENT_TYPES.float16 } });
  return builder.op("Unsqueeze", [numbers, builder.int64s([1])]);
}

/** The inputs of a batch of one prompt without padding. Each iteration adds one token. */
function stepInputs(
  { builder, arithmetic }: GraphContext,
  { rotations }: OuterValues,
  { first, total }: StepTokens,
): BatchInputs {
  const last = builder.op("Sub", [total, builder.int64s([1])]);
  const rows = (table: Value) => builder.op("Slice", [table, first, total, builder.int64s([0])]);
  return {
    mask: cast(builder, builder.float32(1), "float32", arithmetic.elementType),
    lastPositions: cast(builder, last, "int64", "int32"),
    totalTokens: cast(builder, total, "int64", "int32"),
    rotations: rotations.map(({ cos, sin }) => ({ cos: rows(cos), sin: rows(sin) })),
  };
}

/** The logits of the last token that was read, in float32. [1, 1, vocabulary] */
function lastLogits(context: GraphContext, { end, slices }: GenerationLoopRequest, stream: ResidualStream): Value {
  const { builder, arithmetic } = context;
  const hidden = sumOfStream(context, stream);
  const last = builder.op("Gather", [hidden, builder.int64s([-1])], { attributes: { axis: 1 } }); // [1, 1, hidden]
  const wide = cast(builder, last, arithmetic.elementType, "float32");
  const inFloat32 = { ...context, arithmetic: FLOAT32_ARITHMETIC };
  const parts = slices.map((slice) => logitsOf(inFloat32, end, slice, wide));
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : builder.op("Concat", parts, { attributes: { axis: -1 } });
}

/** No token has the number −1: without it the list might be empty. @returns bool [] */
function isNoneOf(builder: GraphBuilder, token: Value, endIds: readonly number[]): Value {
  const isEqual = builder.op("Equal", [token, builder.int64s([-1, ...endIds])]); // [1, ids]
  const counts = builder.op("Cast", [isEqual], { attributes: { to: ELEMENT_TYPES.int32 } });
  const isEnd = builder.op("ReduceMax", [counts, builder.int64s([0, 1])], { attributes: { keepdims: 0 } });
  return builder.op("Not", [builder.op("Cast", [isEnd], { attributes: { to: ELEMENT_TYPES.bool } })]);
}
