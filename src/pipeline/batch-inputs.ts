// What a batch brings to a segment's graph beside hidden states: token ids, mask, positions, rotations.
// Knows nothing of what is measured.

import type { Decoder } from "../architectures/description.js";
import { type RopeTables, ropeRegime, ropeTables } from "../architectures/rope.js";
import { SEGMENT_VALUES } from "../graphs/segment.js";
import { type Batch, batchMask, batchTokenIds } from "../prompts/batches.js";
import type { NamedTensors } from "../runtime/session.js";

/** What the embedding takes. */
export function tokenInputs(batch: Batch, tokenIds: readonly (readonly number[])[]): NamedTensors {
  const data = batchTokenIds(batch, tokenIds);
  return { [SEGMENT_VALUES.tokenIds]: { type: "int64", data, shape: [batch.prompts.length, batch.width] } };
}

/** What layers take beside hidden states. */
export function layerInputs(batch: Batch, { cos, sin }: RopeTables): NamedTensors {
  const rows = batch.prompts.length;
  const tableShape = [batch.width, cos.length / batch.width];
  return {
    [SEGMENT_VALUES.mask]: { type: "float32", data: batchMask(batch), shape: [rows, batch.width, 1] },
    [SEGMENT_VALUES.lastPositions]: {
      type: "int32",
      data: Int32Array.from(batch.lengths, (length) => length - 1),
      shape: [rows],
    },
    [SEGMENT_VALUES.totalTokens]: { type: "int32", data: Int32Array.of(batch.width), shape: [1] },
    [SEGMENT_VALUES.cos]: { type: "float32", data: cos, shape: tableShape },
    [SEGMENT_VALUES.sin]: { type: "float32", data: sin, shape: tableShape },
  };
}

/** Tables are the same for all lengths of a regime, so one long table serves every shorter batch. */
export class RopeTableCache {
  readonly #decoder: Decoder;
  #regime = Number.NaN;
  #tables: RopeTables = { cos: new Float32Array(), sin: new Float32Array() };

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  of(length: number): RopeTables {
    const { rope } = this.#decoder;
    const values = (length * rope.headDim) / 2;
    const regime = ropeRegime(rope, length);
    if (regime !== this.#regime || this.#tables.cos.length < values) {
      this.#regime = regime;
      this.#tables = ropeTables(rope, length);
    }
    return { cos: this.#tables.cos.subarray(0, values), sin: this.#tables.sin.subarray(0, values) };
  }
}
