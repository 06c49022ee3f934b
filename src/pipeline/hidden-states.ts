// The hidden states of every batch between two segments, in one block of memory. Outputs are written into a second
// buffer and copied back: memory that is allocated for each batch would lie scattered among the weights of the segments
// that come and go, and keep the process from giving theirs back.

import type { Batch } from "../prompts/batches.js";
import type { TensorData } from "../runtime/session.js";

export class HiddenStates {
  readonly #batches: readonly Batch[];
  readonly #hiddenSize: number;
  readonly #offsets: readonly number[];
  readonly #states: Float32Array;
  readonly #next: Float32Array;

  readonly #places = new Map<number, { readonly batch: number; readonly row: number }>();

  constructor(batches: readonly Batch[], hiddenSize: number) {
    this.#batches = batches;
    this.#hiddenSize = hiddenSize;
    const sizes = batches.map((batch) => batch.prompts.length * batch.width * hiddenSize);
    let total = 0;
    this.#offsets = sizes.map((size) => {
      total += size;
      return total - size;
    });
    for (const [batch, { prompts }] of batches.entries()) {
      for (const [row, prompt] of prompts.entries()) this.#places.set(prompt, { batch, row });
    }
    this.#states = new Float32Array(total);
    this.#next = new Float32Array(Math.max(0, ...sizes));
  }

  /** What a segment reads. [rows, width, hidden] */
  current(batch: number): TensorData {
    return this.#view(this.#states, this.#offsets[batch] ?? 0, batch);
  }

  /** Where a segment writes. [rows, width, hidden] */
  next(batch: number): TensorData {
    return this.#view(this.#next, 0, batch);
  }

  /** Makes what was written the batch's current states. */
  advance(batch: number): void {
    this.#states.set(this.next(batch).data as Float32Array, this.#offsets[batch] ?? 0);
  }

  /** The states of one position of a prompt. [hidden] */
  position(prompt: number, position: number): Float32Array {
    const { batch, row } = this.#places.get(prompt) ?? { batch: 0, row: 0 };
    const width = this.#batches[batch]?.width ?? 0;
    const start = (this.#offsets[batch] ?? 0) + (row * width + position) * this.#hiddenSize;
    return this.#states.subarray(start, start + this.#hiddenSize);
  }

  #view(block: Float32Array, offset: number, batch: number): TensorData {
    const { prompts, width } = this.#batches[batch] ?? { prompts: [], width: 0 };
    const shape = [prompts.length, width, this.#hiddenSize];
    const data = block.subarray(offset, offset + prompts.length * width * this.#hiddenSize);
    return { type: "float32", data, shape };
  }
}
