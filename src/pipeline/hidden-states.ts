// The hidden states of every batch between two segments, or another value that crosses, in one block of memory. Outputs
// are written into a second buffer and copied back. Memory that is allocated per batch would be scattered among the
// weights of segments and keep their memory from being returned to the system.

import { HIDDEN_VALUES, type HiddenType, namesOfCrossing } from "../graphs/hidden-states.js";
import { decodeBits16 } from "../numerics/bits16.js";
import type { Batch } from "../prompts/batches.js";
import type { NamedTensors, TensorData } from "../runtime/session.js";

type States = Float32Array | Uint16Array;

export class HiddenStates {
  readonly #names: ReturnType<typeof namesOfCrossing>;
  readonly #batches: readonly Batch[];
  readonly #hiddenSize: number;
  readonly #offsets: readonly number[]; // of each batch, in tokens
  readonly #states: States;
  readonly #next: States;
  /** Only with float16: the divisor of each token's states. */
  readonly #scales: Float32Array;
  readonly #nextScales: Float32Array;
  readonly #isWrittenOnce: boolean;
  readonly #places = new Map<number, { readonly batch: number; readonly row: number }>();

  /**
   * @param name of the value, if it is not the hidden states
   * @param isWrittenOnce whether no segment both reads and writes it: then it needs no second buffer
   */
  constructor(
    batches: readonly Batch[],
    hiddenSize: number,
    type: HiddenType,
    name: string = HIDDEN_VALUES.hidden,
    isWrittenOnce = name !== HIDDEN_VALUES.hidden,
  ) {
    this.#names = namesOfCrossing(name);
    this.#isWrittenOnce = isWrittenOnce;
    this.#batches = batches;
    this.#hiddenSize = hiddenSize;
    const sizes = batches.map((batch) => batch.prompts.length * batch.width);
    let total = 0;
    this.#offsets = sizes.map((size) => {
      total += size;
      return total - size;
    });
    for (const [batch, { prompts }] of batches.entries()) {
      for (const [row, prompt] of prompts.entries()) this.#places.set(prompt, { batch, row });
    }
    const largest = this.#isWrittenOnce ? 0 : Math.max(0, ...sizes);
    const StatesArray = type === "float32" ? Float32Array : Uint16Array;
    this.#states = new StatesArray(total * hiddenSize);
    this.#next = new StatesArray(largest * hiddenSize);
    this.#scales = new Float32Array(type === "float32" ? 0 : total);
    this.#nextScales = new Float32Array(type === "float32" ? 0 : largest);
  }

  /** A segment's inputs, by the names of its graph. */
  current(batch: number): NamedTensors {
    const { hidden, hiddenScale } = this.#names;
    const offset = this.#offsets[batch] ?? 0;
    return this.#tensors(batch, hidden, this.#states, hiddenScale, this.#scales, offset);
  }

  /** The memory for a segment's outputs. */
  next(batch: number): NamedTensors {
    const { nextHidden, nextHiddenScale } = this.#names;
    if (this.#isWrittenOnce) {
      const offset = this.#offsets[batch] ?? 0;
      return this.#tensors(batch, nextHidden, this.#states, nextHiddenScale, this.#scales, offset);
    }
    return this.#tensors(batch, nextHidden, this.#next, nextHiddenScale, this.#nextScales, 0);
  }

  /** Makes the outputs the batch's current states. */
  advance(batch: number): void {
    if (this.#isWrittenOnce) return;
    const offset = this.#offsets[batch] ?? 0;
    const tokens = this.#tokensOf(batch);
    this.#states.set(this.#next.subarray(0, tokens * this.#hiddenSize), offset * this.#hiddenSize);
    if (this.#scales.length > 0) this.#scales.set(this.#nextScales.subarray(0, tokens), offset);
  }

  /** Copies the states of one position of a prompt, as float32. @param into [hidden] */
  copyPosition(prompt: number, position: number, into: Float32Array): void {
    const { batch, row } = this.#places.get(prompt) ?? { batch: 0, row: 0 };
    const token = (this.#offsets[batch] ?? 0) + row * (this.#batches[batch]?.width ?? 0) + position;
    const states = this.#states.subarray(token * this.#hiddenSize, (token + 1) * this.#hiddenSize);
    const scale = this.#scales[token] ?? Number.NaN;
    if (states instanceof Float32Array) into.set(states);
    else for (const [index, bits] of states.entries()) into[index] = decodeBits16("float16", bits) * scale;
  }

  #tokensOf(batch: number): number {
    const { prompts, width } = this.#batches[batch] ?? { prompts: [], width: 0 };
    return prompts.length * width;
  }

  #tensors(
    batch: number,
    name: string,
    states: States,
    scaleName: string,
    scales: Float32Array,
    offset: number,
  ): NamedTensors {
    const { prompts, width } = this.#batches[batch] ?? { prompts: [], width: 0 };
    const end = offset + this.#tokensOf(batch);
    const shape = [prompts.length, width, this.#hiddenSize];
    const data = states.subarray(offset * this.#hiddenSize, end * this.#hiddenSize);
    if (data instanceof Float32Array) return { [name]: { type: "float32", data, shape } };
    const scale: TensorData = {
      type: "float32",
      data: scales.subarray(offset, end),
      shape: [prompts.length, width, 1],
    };
    return { [name]: { type: "float16", data, shape }, [scaleName]: scale };
  }
}
