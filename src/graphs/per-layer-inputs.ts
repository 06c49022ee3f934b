// Per-layer embeddings (Gemma 3n and 4): rows of a table, joined with a projection of the first hidden states. Knows no
// layer's blocks.

import type { PerLayerInputs } from "../architectures/description.js";
import type { Value } from "../onnx/graph-builder.js";
import { ELEMENT_TYPES } from "../onnx/model-proto.js";
import { type GraphContext, linear, multiplied } from "./blocks.js";
import { norm } from "./norm.js";
import { cast } from "./weights.js";

/** The input of each layer, recorded when it is first needed. */
export class PerLayerInputSource {
  readonly #context: GraphContext;
  readonly #description: PerLayerInputs;
  readonly #rows: Value;
  readonly #hidden: Value;

  /**
   * @param ids int64 [batch, tokens] @param vocabulary number of tokens
   * @param hidden the first layer's input [batch, tokens, hidden]
   */
  constructor(context: GraphContext, description: PerLayerInputs, vocabulary: number, ids: Value, hidden: Value) {
    this.#context = context;
    this.#description = description;
    this.#hidden = hidden;
    const { table } = description;
    const known = table.tokens < vocabulary ? knownIds(context, ids, table.tokens) : ids;
    this.#rows = context.builder.op("Gather", [context.weights.stored(table.name), known]); // [batch, tokens, layers × size]
  }

  /** [batch, tokens, size] */
  of(layer: number): Value {
    const context = this.#context;
    const { builder, weights, arithmetic } = context;
    const { size, table, projections, tokenMultiplier, projectionMultiplier, multiplier } = this.#description;
    const projection = projections[layer];
    if (projection === undefined) throw new RangeError(`no embeddings of layer ${layer}`);
    const range = [layer * size, (layer + 1) * size, -1].map((number) => builder.int64s([number]));
    const stored = builder.op("Slice", [this.#rows, ...range]);
    const embedded = cast(builder, stored, weights.storedType(table.name), arithmetic.elementType);
    const projected = multiplied(context, linear(context, projection, this.#hidden), projectionMultiplier);
    const normed = norm(context, this.#description.norm, projected);
    const sum = builder.op("Add", [normed, multiplied(context, embedded, tokenMultiplier)]);
    return multiplied(context, sum, multiplier);
  }
}

/** Ids, with 0 for those without a row in the table. */
function knownIds({ builder }: GraphContext, ids: Value, tokens: number): Value {
  const isKnown = builder.op("Less", [ids, builder.int64s([tokens])]);
  return builder.op("Mul", [ids, builder.op("Cast", [isKnown], { attributes: { to: ELEMENT_TYPES.int64 } })]);
}
