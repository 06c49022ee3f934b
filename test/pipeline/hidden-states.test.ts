// The block of memory that hidden states wait in between two segments: each batch finds its own again.

import { describe, expect, test } from "vitest";
import type { HiddenType } from "../../src/graphs/hidden-states.js";
import { HiddenStates } from "../../src/pipeline/hidden-states.js";
import type { Batch } from "../../src/prompts/batches.js";
import type { NamedTensors, TensorData } from "../../src/runtime/session.js";

const HIDDEN = 4;
const BATCHES: readonly Batch[] = [
  { prompts: [2, 0], lengths: [3, 2], width: 3 },
  { prompts: [1], lengths: [1], width: 1 },
];
/** 1, in float16. */
const ONE = 0x3c00;

function dataOf(tensors: NamedTensors, name: string): Float32Array | Uint16Array {
  const { data } = tensors[name] as TensorData;
  if (data instanceof Float32Array || data instanceof Uint16Array) return data;
  throw new Error(`${name} has integers`);
}

/** What a segment would write: values that tell the batch, the token and the element. */
function write(states: HiddenStates, batch: number, valueAt: (index: number) => number): void {
  const into = states.next(batch);
  dataOf(into, "next_hidden").set(dataOf(into, "next_hidden").map((_, index) => valueAt(index)));
  if ("next_hidden_scale" in into) {
    const scales = dataOf(into, "next_hidden_scale");
    scales.set(scales.map((_, token) => 100 * batch + token + 1));
  }
}

describe.each<HiddenType>(["float32", "float16"])("as %s", (type) => {
  test("a batch reads what was written for it, whatever others wrote since", () => {
    const states = new HiddenStates(BATCHES, HIDDEN, type);
    for (const batch of [0, 1]) {
      write(states, batch, (index) => 1000 * batch + index);
      states.advance(batch);
    }
    const read = [0, 1].map((batch) => [...dataOf(states.current(batch), "hidden")]);
    expect(read).toEqual([
      Array.from({ length: 2 * 3 * HIDDEN }, (_, index) => index),
      Array.from({ length: HIDDEN }, (_, index) => 1000 + index),
    ]);
    if (type === "float16") {
      const scales = [0, 1].map((batch) => [...dataOf(states.current(batch), "hidden_scale")]);
      expect(scales).toEqual([[1, 2, 3, 4, 5, 6], [101]]);
    }
  });

  test("what is being written is not read before it is advanced", () => {
    const states = new HiddenStates(BATCHES, HIDDEN, type);
    write(states, 0, () => 7);
    expect(dataOf(states.current(0), "hidden").every((value) => value === 0)).toBe(true);
    states.advance(0);
    expect(dataOf(states.current(0), "hidden").every((value) => value === 7)).toBe(true);
  });

  test("another value than hidden states is written once, where it is read", () => {
    const states = new HiddenStates(BATCHES, HIDDEN, type, "cached_k_3");
    for (const batch of [0, 1]) {
      const into = states.next(batch);
      dataOf(into, "next_cached_k_3").fill(batch + 1);
      states.advance(batch);
    }
    const values = [0, 1].map((batch) => [...new Set(dataOf(states.current(batch), "cached_k_3"))]);
    expect(values).toEqual([[1], [2]]);
    expect("cached_k_3_scale" in states.current(0)).toBe(type === "float16");
  });

  test("tensors have the batch's shape; scales are there with float16 alone", () => {
    const states = new HiddenStates(BATCHES, HIDDEN, type);
    const shapes = (tensors: NamedTensors) =>
      Object.entries(tensors).map(([name, tensor]) => [name, tensor.type, tensor.shape]);
    const scaled = type === "float16";
    expect(shapes(states.current(0))).toEqual([
      ["hidden", type, [2, 3, HIDDEN]],
      ...(scaled ? [["hidden_scale", "float32", [2, 3, 1]]] : []),
    ]);
    expect(shapes(states.next(1))).toEqual([
      ["next_hidden", type, [1, 1, HIDDEN]],
      ...(scaled ? [["next_hidden_scale", "float32", [1, 1, 1]]] : []),
    ]);
  });
});

describe("a position of a prompt is found in its batch and row", () => {
  test("as float32", () => {
    const states = new HiddenStates(BATCHES, HIDDEN, "float32");
    write(states, 0, (index) => index);
    states.advance(0);
    const into = new Float32Array(HIDDEN);
    states.copyPosition(0, 1, into); // row 1 of width 3, position 1: token 4
    expect([...into]).toEqual([16, 17, 18, 19]);
    states.copyPosition(2, 0, into);
    expect([...into]).toEqual([0, 1, 2, 3]);
  });

  test("as float16, times the scale of its token", () => {
    const states = new HiddenStates(BATCHES, HIDDEN, "float16");
    for (const batch of [0, 1]) {
      write(states, batch, () => ONE);
      states.advance(batch);
    }
    const into = new Float32Array(HIDDEN);
    const first = (prompt: number, position: number) => {
      states.copyPosition(prompt, position, into);
      return into[0];
    };
    expect([first(2, 0), first(2, 2), first(0, 0), first(0, 1), first(1, 0)]).toEqual([1, 3, 4, 5, 101]);
  });
});
