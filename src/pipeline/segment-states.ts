// All that waits between two segments, of every batch: hidden states, and beside them what layers further on read of earlier
// ones. Knows no session.

import type { Decoder } from "../architectures/description.js";
import type { HiddenType } from "../graphs/hidden-states.js";
import { type CrossingValue, nameOfCrossing, widthOfCrossing } from "../graphs/segment-parts.js";
import type { Batch } from "../prompts/batches.js";
import type { NamedTensors } from "../runtime/session.js";
import { HiddenStates } from "./hidden-states.js";
import type { Segment } from "./segment-plan.js";

type Crossing = Pick<Segment, "parts" | "reads" | "gives" | "readLater">;

export class SegmentStates {
  readonly hidden: HiddenStates;
  readonly #make: (value?: CrossingValue) => HiddenStates;
  /** By name. Each is written once: states that part later share what was written before. */
  readonly #carried: ReadonlyMap<string, HiddenStates>;

  private constructor(
    make: (value?: CrossingValue) => HiddenStates,
    hidden: HiddenStates,
    carried: ReadonlyMap<string, HiddenStates>,
  ) {
    this.#make = make;
    this.hidden = hidden;
    this.#carried = carried;
  }

  /** @param holds values that are there already; zeros */
  static of(
    decoder: Decoder,
    batches: readonly Batch[],
    type: HiddenType,
    holds: readonly CrossingValue[] = [],
  ): SegmentStates {
    const make = (value?: CrossingValue) =>
      value === undefined
        ? new HiddenStates(batches, decoder.hiddenSize, type)
        : new HiddenStates(batches, widthOfCrossing(decoder, value), type, nameOfCrossing(value));
    const carried = holds.map((value) => [nameOfCrossing(value), make(value)] as const);
    return new SegmentStates(make, make(), new Map(carried));
  }

  /**
   * What a segment writes: over these hidden states, unless they are needed once more.
   * @param isNeededLater whether others start from these states, too
   */
  behind({ gives, readLater }: Crossing, isNeededLater = false): SegmentStates {
    const wanted = new Set(readLater.map(nameOfCrossing));
    const kept = [...this.#carried].filter(([name]) => wanted.has(name));
    const made = gives.map((value) => [nameOfCrossing(value), this.#make(value)] as const);
    return new SegmentStates(this.#make, isNeededLater ? this.#make() : this.hidden, new Map([...kept, ...made]));
  }

  /** What a segment reads of a batch, by the names of its graph; of the first, without token ids. */
  inputs(batch: number, { parts, reads }: Crossing): NamedTensors {
    const tensors = reads.map((value) => this.#of(value).current(batch));
    return Object.assign({}, parts[0]?.kind === "embedding" ? {} : this.hidden.current(batch), ...tensors);
  }

  /** Where a segment writes. */
  outputs(batch: number, { parts, gives }: Crossing): NamedTensors {
    const tensors = gives.map((value) => this.#of(value).next(batch));
    return Object.assign({}, endsWithHidden(parts) ? this.hidden.next(batch) : {}, ...tensors);
  }

  /** Makes what a segment wrote the batch's current states. */
  advance(batch: number, { parts, gives }: Crossing): void {
    if (endsWithHidden(parts)) this.hidden.advance(batch);
    for (const value of gives) this.#of(value).advance(batch);
  }

  #of(value: CrossingValue): HiddenStates {
    const name = nameOfCrossing(value);
    const states = this.#carried.get(name);
    if (states === undefined) throw new RangeError(`no segment has given ${name}`);
    return states;
  }
}

function endsWithHidden(parts: Segment["parts"]): boolean {
  return parts.at(-1)?.kind !== "keys-values";
}
