// All values between two segments, of every batch: hidden states, and values that later layers read from earlier ones.
// Knows no session.

import type { Decoder } from "../architectures/description.js";
import type { HiddenType } from "../graphs/hidden-states.js";
import {
  type CrossingValue,
  givesHidden,
  hiddenWidth,
  hiddenWidthBehind,
  nameOfCrossing,
  widthOfCrossing,
} from "../graphs/segment-parts.js";
import type { Batch } from "../prompts/batches.js";
import type { NamedTensors } from "../runtime/session.js";
import { HiddenStates } from "./hidden-states.js";
import type { Segment } from "./segment-plan.js";

const EXPERT_SUM = nameOfCrossing({ kind: "expert-sum" });

/** The batches that every block of memory is made for. */
interface Memory {
  readonly decoder: Decoder;
  readonly batches: readonly Batch[];
  readonly type: HiddenType;
}

function named({ decoder, batches, type }: Memory, value: CrossingValue): [string, HiddenStates] {
  const name = nameOfCrossing(value);
  return [name, new HiddenStates(batches, widthOfCrossing(decoder, value), type, name, value.kind !== "expert-sum")];
}

type Crossing = Pick<Segment, "parts" | "reads" | "gives" | "readLater">;

export class SegmentStates {
  readonly hidden: HiddenStates;
  readonly #memory: Memory;
  /** By name. Most are written once: states that diverge later share what was written before. */
  readonly #carried: ReadonlyMap<string, HiddenStates>;

  private constructor(memory: Memory, hidden: HiddenStates, carried: ReadonlyMap<string, HiddenStates>) {
    this.#memory = memory;
    this.hidden = hidden;
    this.#carried = carried;
  }

  /** @param holds values that exist already; zeros */
  static of(
    decoder: Decoder,
    batches: readonly Batch[],
    type: HiddenType,
    holds: readonly CrossingValue[] = [],
  ): SegmentStates {
    const memory: Memory = { decoder, batches, type };
    const hidden = new HiddenStates(batches, hiddenWidth(decoder), type);
    return new SegmentStates(memory, hidden, new Map(holds.map((value) => named(memory, value))));
  }

  /**
   * The states that a segment writes: these hidden states are overwritten, unless they are needed again or have another
   * width.
   * @param isNeededLater whether others also start from these states
   */
  behind({ parts, gives, readLater }: Crossing, isNeededLater = false): SegmentStates {
    const { decoder, batches, type } = this.#memory;
    const width = hiddenWidthBehind(decoder, parts);
    const isOther = isNeededLater || width !== hiddenWidth(decoder);
    const hidden = isOther && givesHidden(parts) ? new HiddenStates(batches, width, type) : this.hidden;
    const wanted = new Set(readLater.map(nameOfCrossing));
    // A sum of experts is overwritten by the next part, and by the next mixture.
    const sums = isNeededLater ? [] : [...this.#carried].filter(([name]) => name === EXPERT_SUM);
    const kept = new Map([...sums, ...[...this.#carried].filter(([name]) => wanted.has(name))]);
    const made = gives.map((value) => {
      const sum = isNeededLater || value.kind !== "expert-sum" ? undefined : kept.get(EXPERT_SUM);
      return sum === undefined ? named(this.#memory, value) : ([EXPERT_SUM, sum] as const);
    });
    return new SegmentStates(this.#memory, hidden, new Map([...kept, ...made]));
  }

  /** A segment's inputs for a batch, by the names of its graph; for the first segment, without token ids. */
  inputs(batch: number, { parts, reads }: Crossing): NamedTensors {
    const tensors = reads.map((value) => this.#of(value).current(batch));
    return Object.assign({}, parts[0]?.kind === "embedding" ? {} : this.hidden.current(batch), ...tensors);
  }

  /** The memory for a segment's outputs. */
  outputs(batch: number, { parts, gives }: Crossing): NamedTensors {
    const tensors = gives.map((value) => this.#of(value).next(batch));
    return Object.assign({}, givesHidden(parts) ? this.hidden.next(batch) : {}, ...tensors);
  }

  /** Makes a segment's outputs the batch's current states. */
  advance(batch: number, { parts, gives }: Crossing): void {
    if (givesHidden(parts)) this.hidden.advance(batch);
    for (const value of gives) this.#of(value).advance(batch);
  }

  #of(value: CrossingValue): HiddenStates {
    const name = nameOfCrossing(value);
    const states = this.#carried.get(name);
    if (states === undefined) throw new RangeError(`no segment has given ${name}`);
    return states;
  }
}
