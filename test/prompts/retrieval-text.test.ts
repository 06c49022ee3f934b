// Texts that ask for what they said: the same of the same seed, every question with its answer, all depths asked alike.

import { describe, expect, test } from "vitest";
import { DEPTHS, depthOf, MOST_LINES, makeRetrievalText } from "../../src/prompts/retrieval-text.js";
import { ADJECTIVES, NOUNS } from "../../src/prompts/retrieval-words.js";

const REQUEST = { seed: 7, text: 0, lines: 100, askedBefore: 0, values: 24 };

/** The lines with a name and a value. */
const linesOf = (text: string) =>
  [...text.matchAll(/^(\w+ \w+):( \d{4})$/gm)].map(([, name, value]) => ({ name, value }));

describe("a text", () => {
  test("is the same for the same seed and number, and another for each other", () => {
    const { text } = makeRetrievalText(REQUEST);
    expect(makeRetrievalText(REQUEST).text).toBe(text);
    for (const other of [{ seed: 8 }, { text: 1 }, { lines: 99 }])
      expect(makeRetrievalText({ ...REQUEST, ...other }).text).not.toBe(text);
  });

  test("has different names, in plain words, and ends with the questions and their answers", () => {
    const { text, registerEnd, lastLine } = makeRetrievalText(REQUEST);
    const register = linesOf(text.slice(0, registerEnd));
    expect(new Set(register.map(({ name }) => name)).size).toBe(100);
    expect(linesOf(text.slice(lastLine, registerEnd))).toEqual([register.at(-1)]);
    expect(linesOf(text.slice(registerEnd))).toHaveLength(24);
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
  });

  test("says in the register, at the depth that is given, what it asks for", () => {
    const { text, registerEnd, asked } = makeRetrievalText(REQUEST);
    const register = linesOf(text.slice(0, registerEnd));
    const questions = linesOf(text.slice(registerEnd));
    expect(new Set(asked.map(({ line }) => line)).size).toBe(24);
    for (const [index, { line, depth, start, end }] of asked.entries()) {
      expect(register[line]).toEqual(questions[index]);
      expect(text.slice(start, end)).toBe(register[line]?.value);
      expect(depth).toBe(depthOf(line, 100));
    }
  });

  test("asks in an order that says nothing of depth", () => {
    const depths = makeRetrievalText(REQUEST).asked.map(({ depth }) => depth);
    expect(depths).not.toEqual(depths.toSorted());
    expect(depths).not.toEqual(depths.toSorted().reverse());
  });

  test("may have as many lines as there are names", () => {
    const { text, registerEnd } = makeRetrievalText({ ...REQUEST, lines: MOST_LINES });
    expect(new Set(linesOf(text.slice(0, registerEnd)).map(({ name }) => name)).size).toBe(MOST_LINES);
  });
});

test("all texts together ask for as many values at each depth", () => {
  const counts = Array.from({ length: DEPTHS }, () => 0);
  for (let text = 0; text < 5; text++) {
    const { asked } = makeRetrievalText({ ...REQUEST, text, lines: 40, askedBefore: 16 * text, values: 16 });
    for (const { depth } of asked) counts[depth] = (counts[depth] ?? 0) + 1;
  }
  expect(counts).toEqual(Array.from({ length: DEPTHS }, () => 10));
});

test("depth goes from the first line to the last in equal parts", () => {
  expect([0, 12, 13, 49, 50, 99].map((line) => depthOf(line, 100))).toEqual([0, 0, 1, 3, 4, 7]);
});

test("words are different, 128 of each kind", () => {
  expect([ADJECTIVES.length, NOUNS.length]).toEqual([128, 128]);
  expect(new Set([...ADJECTIVES, ...NOUNS]).size).toBe(256);
});
