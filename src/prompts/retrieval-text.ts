// A text that asks for what it said: a register of names with numbers, then some of the names again, each with its
// number. Made by a seed alone. Knows no tokenizer and no model.

import { ADJECTIVES, NOUNS } from "./retrieval-words.js";
import { seededRandom, shuffle } from "./seeded-random.js";

/** Parts of a register that values are asked from, from its beginning to its end: as many in each. */
export const DEPTHS = 8;
/** Lines of a register for each value that is asked: what is asked takes a small part of the text. */
export const LINES_PER_VALUE = 8;
/** As many names as there are. */
export const MOST_LINES = ADJECTIVES.length * NOUNS.length;

const HEADING = "Numbers by name:\n";
const SECOND_HEADING = "The numbers of some names again:\n";

export interface RetrievalTextRequest {
  readonly seed: number;
  /** Number of the text among those of the seed, from 0. */
  readonly text: number;
  /** Lines of the register, 1 to MOST_LINES. */
  readonly lines: number;
  /** Values asked for in the texts before this one: depths go in turn through all of them. */
  readonly askedBefore: number;
  /** Values that this text asks for, 1 to `lines`. */
  readonly values: number;
}

/** A value that the end of the text asks for. Places are numbers of characters in the text. */
export interface AskedValue {
  /** Line of the register that says it, from 0. */
  readonly line: number;
  /** Part of the register that the line is in, from 0 to DEPTHS − 1. */
  readonly depth: number;
  /** Where the value begins where it is asked for, with the space before it. */
  readonly start: number;
  /** Where it ends. */
  readonly end: number;
}

export interface RetrievalText {
  readonly text: string;
  /** Where the last line of the register begins. */
  readonly lastLine: number;
  /** Where the register ends. */
  readonly registerEnd: number;
  /** In the order in which they are asked for. */
  readonly asked: readonly AskedValue[];
}

/** Makes a text. The same request gives the same text. */
export function makeRetrievalText({ seed, text, lines, askedBefore, values }: RetrievalTextRequest): RetrievalText {
  const random = seededRandom(seed + text * 0x9e3779b1);
  const register = namesOf(random, lines).map((name) => ({ name, value: 1000 + Math.floor(random() * 9000) }));
  const lineOf = ({ name, value }: (typeof register)[number]) => `${name}: ${value}\n`;
  let made = HEADING + register.slice(0, -1).map(lineOf).join("");
  const lastLine = made.length;
  made += register.slice(-1).map(lineOf).join("");
  const registerEnd = made.length;
  made += SECOND_HEADING;
  const asked = chooseLines(random, lines, askedBefore, values).flatMap(({ line, depth }) => {
    const entry = register[line];
    if (entry === undefined) return [];
    const start = made.length + `${entry.name}:`.length;
    made += lineOf(entry);
    return [{ line, depth, start, end: made.length - 1 }];
  });
  return { text: made, lastLine, registerEnd, asked };
}

/** Different names, in no order. */
function namesOf(random: () => number, count: number): string[] {
  const numbers = shuffle(
    Array.from({ length: MOST_LINES }, (_, number) => number),
    random,
  );
  return numbers.slice(0, count).map((number) => {
    const [adjective, noun] = [ADJECTIVES[number % ADJECTIVES.length], NOUNS[Math.floor(number / ADJECTIVES.length)]];
    return `${adjective} ${noun}`;
  });
}

/** Different lines, their depths in turn, in an order that says nothing of depth. */
function chooseLines(
  random: () => number,
  lines: number,
  askedBefore: number,
  values: number,
): { readonly line: number; readonly depth: number }[] {
  const places = Array.from({ length: DEPTHS }, (_, depth) =>
    shuffle(
      Array.from({ length: lines }, (_, line) => line).filter((line) => depthOf(line, lines) === depth),
      random,
    ),
  );
  const chosen: { readonly line: number; readonly depth: number }[] = [];
  for (let turn = askedBefore; chosen.length < Math.min(values, lines); turn++) {
    const depth = turn % DEPTHS;
    const line = places[depth]?.pop();
    if (line !== undefined) chosen.push({ line, depth });
  }
  return shuffle(chosen, random);
}

/** The part of a register that a line is in. */
export function depthOf(line: number, lines: number): number {
  return Math.floor((line * DEPTHS) / lines);
}
