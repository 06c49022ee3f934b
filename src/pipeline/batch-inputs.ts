// The inputs of a segment's graph for a batch, beside hidden states: token ids, mask, positions, rotation tables. Knows
// nothing of what is measured.

import type { Decoder } from "../architectures/description.js";
import { type Rope, type RopeTables, ropeRegime, ropeTables } from "../architectures/rope.js";
import { COUNT_VALUES } from "../graphs/attend.js";
import { SEGMENT_VALUES } from "../graphs/segment.js";
import { type Batch, batchMask, batchTokenIds } from "../prompts/batches.js";
import type { NamedTensors, TensorData } from "../runtime/session.js";

/** Inputs of the embedding. */
export function tokenInputs(batch: Batch, tokenIds: readonly (readonly number[])[]): NamedTensors {
  const data = batchTokenIds(batch, tokenIds);
  return { [SEGMENT_VALUES.tokenIds]: { type: "int64", data, shape: [batch.prompts.length, batch.width] } };
}

/** Inputs of layers beside hidden states. */
export function layerInputs(batch: Batch, tables: readonly RopeTables[]): NamedTensors {
  return {
    [SEGMENT_VALUES.mask]: { type: "float32", data: batchMask(batch), shape: [batch.prompts.length, batch.width, 1] },
    ...countInputs(batch),
    ...rotationInputs(tables, batch.width),
  };
}

/** Numbers of tokens: of each prompt, and of the longest. */
export function countInputs({ lengths, width }: Pick<Batch, "lengths" | "width">): NamedTensors {
  const lastPositions = Int32Array.from(lengths, (length) => length - 1);
  return {
    [COUNT_VALUES.lastPositions]: { type: "int32", data: lastPositions, shape: [lengths.length] },
    [COUNT_VALUES.totalTokens]: { type: "int32", data: Int32Array.of(width), shape: [1] },
  };
}

/** @param tables of each rotation @param rows of the tables, one per position */
export function rotationInputs(tables: readonly RopeTables[], rows: number): NamedTensors {
  const inputs = tables.flatMap(({ cos, sin }, rope) =>
    Object.entries({ cos, sin }).map(([table, data]): [string, TensorData] => [
      SEGMENT_VALUES.rotation(table === "cos" ? "cos" : "sin", rope),
      { type: "float32", data, shape: [rows, data.length / rows] },
    ]),
  );
  return Object.fromEntries(inputs);
}

/** The tables of a decoder's rotations, reused wherever possible. */
export class RopeTableCache {
  readonly #caches: readonly TableCache[];

  constructor({ ropes }: Pick<Decoder, "ropes">) {
    this.#caches = ropes.map((rope) => new TableCache(rope));
  }

  /** By index of the rotation. */
  of(length: number): RopeTables[] {
    return this.#caches.map((cache) => cache.of(length));
  }
}

/** Within a regime of the scaling, tables do not depend on the length: one long table serves every shorter batch. */
class TableCache {
  readonly #rope: Rope;
  #regime = Number.NaN;
  #tables: RopeTables = { cos: new Float32Array(), sin: new Float32Array() };

  constructor(rope: Rope) {
    this.#rope = rope;
  }

  of(length: number): RopeTables {
    const values = (length * this.#rope.dimensions) / 2;
    const regime = ropeRegime(this.#rope, length);
    if (regime !== this.#regime || this.#tables.cos.length < values) {
      this.#regime = regime;
      this.#tables = ropeTables(this.#rope, length);
    }
    return { cos: this.#tables.cos.subarray(0, values), sin: this.#tables.sin.subarray(0, values) };
  }
}
