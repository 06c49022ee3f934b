// The graph of a decode step: consecutive parts of a decoder over the new tokens. K and V of earlier tokens come in as
// codes and are decoded here. Does not know who stores the codes or who chooses the tokens.

import { type Attention, valueDimOf } from "../architectures/blocks.js";
import type { Decoder } from "../architectures/description.js";
import { type CodedType, codeTable, codeTypeOf } from "../numerics/cache-codes.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import { ELEMENT_TYPES, type Graph } from "../onnx/model-proto.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { type BatchInputs, type CacheReading, cachedAttention } from "./attention.js";
import type { GraphContext } from "./blocks.js";
import { embed, tokenIdsInput } from "./crossing-values.js";
import { type BlockRecorder, type ResidualStream, recordResiduals, sumOfStream } from "./decoder-layer.js";
import { experts } from "./experts.js";
import { type CacheRounding, keptByCache, type Side, scaleAt } from "./kv-cache.js";
import { rotationInputs, SEGMENT_VALUES } from "./segment.js";
import { residualsOfPart, type SegmentPart } from "./segment-parts.js";
import { cast, GraphWeights, type LocateWeight } from "./weights.js";

/** A rounding whose results are stored as codes. */
export interface CodedRounding extends CacheRounding {
  readonly elementType: CodedType;
}

/** Names of the inputs and outputs; those that a step shares with a segment are in SEGMENT_VALUES. */
export const DECODE_VALUES = {
  /** Number of the cache that this step reads; the past of the others is empty. */
  choice: "choice", // int32 [1]
  /** Position of the first new token, where positions are learned. */
  firstPosition: "first_position", // int64 [1]
  past: (cache: number, side: Side, layer: number) => `past_${cache}_${side}_${layer}`, // [1, past, kv_heads × head_dim or value_dim]
  /** What the cache keeps of the new tokens: decoded numbers, times the scale. */
  kept: (side: Side, layer: number) => `kept_${side}_${layer}`, // [1, tokens, kv_heads × head_dim or value_dim]
} as const;

/**
 * Builds the graph of consecutive parts of a decoder for one sequence. Hidden states and what caches keep enter and
 * leave it as float32, whatever type it computes in.
 * @param caches that a step may read: one session serves them all
 */
export function buildDecodeStep(
  decoder: Decoder,
  parts: readonly SegmentPart[],
  locate: LocateWeight,
  caches: readonly CodedRounding[],
  arithmetic: Arithmetic = FLOAT32_ARITHMETIC,
): Graph {
  const builder = new GraphBuilder();
  const weights = new GraphWeights(builder, locate);
  // For a few tokens, stacking all experts costs more than the few that are used.
  const context: GraphContext = { builder, weights, arithmetic: { ...arithmetic, experts: "one-by-one" } };
  const shape = [1, "tokens", decoder.hiddenSize];
  let stream: ResidualStream = {
    hidden:
      parts[0]?.kind === "embedding"
        ? embed(context, decoder, tokenIdsInput(builder), firstPositionInput(builder, decoder))
        : toComputed(context, builder.input(SEGMENT_VALUES.hidden, "float32", shape)),
  };
  if (parts.some((part) => part.kind === "layer")) {
    const inputs = stepInputs(context, decoder);
    const codes = new CodeReader(context, caches);
    for (const part of parts) {
      if (part.kind !== "layer") continue;
      const { layer } = part;
      const recorder: BlockRecorder = {
        attention: (block, x) => cachedAttention(context, block, inputs, x, codes.readingOf(layer.index, block)).output,
        experts: (block, x) => experts(context, block, x).output,
      };
      stream = recordResiduals(context, residualsOfPart(part), stream, recorder);
    }
  }
  builder.output(toFloat32(context, sumOfStream(context, stream)), SEGMENT_VALUES.nextHidden, "float32", shape);
  return builder.finish();
}

function firstPositionInput(builder: GraphBuilder, { embedding }: Decoder): Value | undefined {
  return embedding.positions && builder.input(DECODE_VALUES.firstPosition, "int64", [1]);
}

function toComputed({ builder, arithmetic }: GraphContext, x: Value): Value {
  return cast(builder, x, "float32", arithmetic.elementType);
}

function toFloat32({ builder, arithmetic }: GraphContext, x: Value): Value {
  return cast(builder, x, arithmetic.elementType, "float32");
}

/** The inputs of a batch of one prompt without padding. cos and sin are those of the new tokens' positions. */
function stepInputs(context: GraphContext, decoder: Decoder): BatchInputs {
  const { builder } = context;
  const table = (name: string, shape: readonly (number | string)[]) =>
    toComputed(context, builder.input(name, "float32", shape));
  return {
    mask: toComputed(context, builder.float32(1)),
    lastPositions: builder.input(SEGMENT_VALUES.lastPositions, "int32", [1]),
    totalTokens: builder.input(SEGMENT_VALUES.totalTokens, "int32", [1]),
    rotations: rotationInputs(decoder, table, "tokens"),
  };
}

/** What attention reads from caches of codes: the new tokens, rounded in the same way, and the decoded past. */
class CodeReader {
  readonly #context: GraphContext;
  readonly #builder: GraphBuilder;
  readonly #caches: readonly CodedRounding[];
  readonly #choice: Value;

  constructor(context: GraphContext, caches: readonly CodedRounding[]) {
    this.#context = context;
    this.#builder = context.builder;
    this.#caches = caches;
    this.#choice = this.#builder.input(DECODE_VALUES.choice, "int32", [1]);
  }

  readingOf(layer: number, attention: Attention): CacheReading {
    const width = { k: attention.kvHeads * attention.headDim, v: attention.kvHeads * valueDimOf(attention) };
    return ({ key, value }) => ({
      key: this.#keep("k", layer, width.k, key),
      value: this.#keep("v", layer, width.v, value),
      past: { key: this.#past("k", layer, width.k), value: this.#past("v", layer, width.v) },
    });
  }

  #keep(side: Side, layer: number, width: number, x: Value): Value {
    const entering = toFloat32(this.#context, x);
    const kept = keptByCache(this.#builder, this.#caches, { layer, side }, this.#choice, entering);
    this.#builder.output(kept, DECODE_VALUES.kept(side, layer), "float32", [1, "tokens", width]);
    return toComputed(this.#context, kept);
  }

  /** The pasts of all caches joined: those that are not read are empty. */
  #past(side: Side, layer: number, width: number): Value {
    const decoded = this.#caches.map((cache, index) => {
      const name = DECODE_VALUES.past(index, side, layer);
      const codes = this.#builder.input(name, codeTypeOf(cache.elementType), [1, `past_${index}`, width]);
      return this.#decode(cache, side, layer, codes);
    });
    const [only] = decoded;
    const isAlone = only !== undefined && decoded.length === 1;
    return toComputed(this.#context, isAlone ? only : this.#builder.op("Concat", decoded, { attributes: { axis: 1 } }));
  }

  /** table[code] · scale. */
  #decode(cache: CodedRounding, side: Side, layer: number, codes: Value): Value {
    const { elementType, scales } = cache;
    const table = this.#builder.float32Table(`numbers:${elementType}`, codeTable(elementType));
    const places = this.#builder.op("Cast", [codes], { attributes: { to: ELEMENT_TYPES.int32 } });
    const numbers = this.#builder.op("Gather", [table, places]); // [1, past, kv_heads × head_dim]
    if (scales === undefined) return numbers;
    return this.#builder.op("Mul", [numbers, this.#builder.float32(scaleAt(cache, { layer, side }))]);
  }
}
