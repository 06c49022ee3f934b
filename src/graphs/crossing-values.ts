// The inputs and outputs of a segment's graph: hidden states (token ids in the first segment), and what layers read
// from earlier ones. Knows no memory and no session.

import type { Decoder, LearnedPositions } from "../architectures/description.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import { openStreams } from "./alt-up.js";
import { type GraphContext, multiplied, sizeOf } from "./blocks.js";
import type { KeysAndValues } from "./fused-attention.js";
import { hiddenInput, hiddenOutput } from "./hidden-states.js";
import { norm } from "./norm.js";
import { PerLayerInputSource } from "./per-layer-inputs.js";
import {
  type CrossingValue,
  crossingInto,
  hiddenWidth,
  nameOfCrossing,
  type SegmentPart,
  widthOfCrossing,
} from "./segment-parts.js";
import { cast } from "./weights.js";

/** Name of the first segment's input. */
export const TOKEN_IDS = "token_ids"; // int64 [batch, tokens]

/**
 * Hidden states of tokens.
 * @param ids int64 [batch, tokens]
 * @param first position of the first token where positions are learned, int64 [1]; absent: 0
 */
export function embed(context: GraphContext, { embedding }: Decoder, ids: Value, first?: Value): Value {
  const { builder, weights, arithmetic } = context;
  // Rows are gathered as stored and cast after that: the table, often the largest tensor, is never held in another
  // type.
  const rows = builder.op("Gather", [weights.stored(embedding.weight), ids]);
  const computed = cast(builder, rows, weights.storedType(embedding.weight), arithmetic.elementType);
  const scaled = multiplied(context, computed, embedding.multiplier);
  const { positions } = embedding;
  const placed =
    positions === undefined ? scaled : builder.op("Add", [scaled, positionsOf(context, positions, ids, first)]);
  return embedding.norm === undefined ? placed : norm(context, embedding.norm, placed);
}

/** Position embeddings from a position on, as many as the longest prompt has tokens. */
function positionsOf(
  { builder, weights, arithmetic }: GraphContext,
  { weight, offset }: LearnedPositions,
  ids: Value,
  first?: Value,
): Value {
  const start = first === undefined ? builder.int64s([offset]) : builder.op("Add", [first, builder.int64s([offset])]);
  const end = builder.op("Add", [sizeOf(builder, ids, 1), start]);
  const rows = builder.op("Slice", [weights.stored(weight), start, end, builder.int64s([0])]); // [tokens, hidden]
  return cast(builder, rows, weights.storedType(weight), arithmetic.elementType);
}

export function tokenIdsInput(builder: GraphBuilder): Value {
  return builder.input(TOKEN_IDS, "int64", ["batch", "tokens"]);
}

/** What parts of a decoder read from elsewhere than the layer before. */
export class CrossingValues {
  /** The input of the first part. [batch, tokens, streams × hidden] */
  readonly hidden: Value;
  readonly #context: GraphContext;
  readonly #decoder: Decoder;
  readonly #perLayer: PerLayerInputSource | undefined;
  readonly #values = new Map<string, Value>();

  /** Declares the inputs. */
  constructor(context: GraphContext, decoder: Decoder, parts: readonly SegmentPart[]) {
    const { builder, arithmetic } = context;
    this.#context = context;
    this.#decoder = decoder;
    if (parts[0]?.kind === "embedding") {
      const { perLayerInputs, streams, vocabularySize } = decoder;
      const ids = tokenIdsInput(builder);
      const embedded = embed(context, decoder, ids);
      this.hidden = streams === undefined ? embedded : openStreams(context, streams, embedded);
      this.#perLayer =
        perLayerInputs && new PerLayerInputSource(context, perLayerInputs, vocabularySize, ids, embedded);
    } else {
      this.hidden = hiddenInput(builder, arithmetic, hiddenWidth(decoder));
    }
    for (const value of crossingInto(parts)) {
      const name = nameOfCrossing(value);
      this.#values.set(name, hiddenInput(builder, arithmetic, widthOfCrossing(decoder, value), name));
    }
  }

  perLayerInput(layer: number): Value {
    return this.#valueOf({ kind: "per-layer-input", layer });
  }

  /** K and V as read from a layer's cache. */
  cached(layer: number): KeysAndValues {
    return {
      key: this.#valueOf({ kind: "cached", layer, side: "k" }),
      value: this.#valueOf({ kind: "cached", layer, side: "v" }),
    };
  }

  /** What the experts of a mixture have given so far. */
  expertSum(): Value {
    return this.#valueOf({ kind: "expert-sum" });
  }

  setExpertSum(sum: Value): void {
    this.#values.set(nameOfCrossing({ kind: "expert-sum" }), sum);
  }

  setCached(layer: number, { key, value }: KeysAndValues): void {
    this.#values.set(nameOfCrossing({ kind: "cached", layer, side: "k" }), key);
    this.#values.set(nameOfCrossing({ kind: "cached", layer, side: "v" }), value);
  }

  /** Makes them outputs. */
  give(values: readonly CrossingValue[]): void {
    const { builder, arithmetic } = this.#context;
    for (const value of values) {
      const width = widthOfCrossing(this.#decoder, value);
      hiddenOutput(builder, arithmetic, this.#valueOf(value), width, nameOfCrossing(value));
    }
  }

  #valueOf(value: CrossingValue): Value {
    const name = nameOfCrossing(value);
    const found = this.#values.get(name) ?? this.#made(value);
    if (found === undefined) throw new RangeError(`nothing gives ${name}`);
    this.#values.set(name, found);
    return found;
  }

  #made(value: CrossingValue): Value | undefined {
    return value.kind === "per-layer-input" ? this.#perLayer?.of(value.layer) : undefined;
  }
}
