// What a batch brings to a segment's graph beside hidden states: token ids, mask, positions, rotations.
// Knows nothing of what is measured.

import type { Decoder } from "../architectures/description.js";
import { type Rope, type RopeTables, ropeRegime, ropeTables } from "../architectures/rope.js";
import { COUNT_VALUES } from "../graphs/attend.js";
import { SEGMENT_VALUES } from "../graphs/segment.js";
import { type Batch, batchMask, batchTokenIds } from "../prompts/batches.js";
import type { NamedTensors, TensorData } from "../runtime/session.js";

/** What the embedding takes. */
export function tokenInputs(batch: Batch, tokenIds: readonly (readonly number[])[]): NamedTensors {
  const data = batchTokenIds(batch, tokenIds);
  return { [SEGMENT_VALUES.tokenIds]: { type: "int64", data, shape: [batch.prompts.length, batch.width] } };
}

/** What layers take beside hidden states. */
export function layerInputs(batch: Batch, tables: readonly RopeTables[]): NamedTensors {
  return {
    [SEGMENT_VALUES.mask]: { type: "float32", data: batchMask(batch), shape: [batch.prompts.length, batch.width, 1] },
    ...countInputs(batch),
    ...rotationInputs(tables, batch.width),
  };
}

/** How many tokens there are: of each prompt, and in the longest. */
export function countInputs({ lengths, width }: Pick<Batch, "lengths" | "width">): NamedTensors {
  const lastPositions = Int32Array.from(lengths, (length) => length - 1);
  return {
    [COUNT_VALUES.lastPositions]: { type: "int32", data: lastPositions, shape: [lengths.length] },
    [COUNT_VALUES.totalTokens]: { type: "int32", data: Int32Array.of(width), shape: [1] },
  };
}

/** @param tables of each rotation @param rows of the tables: a position each */
export function rotationInputs(tables: readonly RopeTables[], rows: number): NamedTensors {
  const inputs = tables.flatMap(({ cos, sin }, rope) =>
    Object.entries({ cos, sin }).map(([table, data]): [string, TensorData] => [
      SEGMENT_VALUES.rotation(table === "cos" ? "cos" : "sin", rope),
      { type: "float32", data, shape: [rows, data.length / rows] },
    ]),
  );
  return Object.fromEntries(inputs);
}

/** The tables of a decoder's rotations, each made anew only where it must be. */
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

/** Tables are the same for all lengths of a regime, so one long table serves every shorter batch. */
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
