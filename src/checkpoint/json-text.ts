// Parses untrusted JSON: checks nesting and the number of values before parsing. Knows nothing of its meaning.

import { randomUUID } from "node:crypto";
import { CheckpointError, messageOf } from "../errors.js";
import type { RefusalClass } from "./plain-file.js";

/**
 * The limit of safetensors' reference reader. Code that walks the value later, ours or a library's, may be recursive.
 */
const MAX_NESTING = 128;

/**
 * Gemma's tokenizer.json, the largest known, has two million. Parsed, a value takes up to a hundred bytes, so this
 * limit means two seconds and some hundred megabytes.
 */
const MAX_VALUES = 4_000_000;

/** Characters of a value in a message. */
const SHOWN_CHARACTERS = 80;

/**
 * Parses JSON.
 * @param where file, and line where a file has several values, for messages
 * @throws `Refusal` when it is not valid, nests too deep, or has too many values
 */
export function parseJson(where: string, text: string, Refusal: RefusalClass = CheckpointError): unknown {
  const { nesting, values } = measureJson(text);
  if (nesting > MAX_NESTING) throw new Refusal(`${where}: the JSON nests deeper than ${MAX_NESTING} levels`);
  if (values > MAX_VALUES) {
    throw new Refusal(`${where}: expected JSON of at most ${MAX_VALUES} values, found ${values}`);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Refusal(`${where}: not valid JSON: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Parses JSON as Python's json module does: with `NaN`, `Infinity` and `-Infinity`, which it writes for such numbers.
 * @throws `Refusal` as `parseJson`
 */
export function parsePythonJson(where: string, text: string, Refusal: RefusalClass = CheckpointError): unknown {
  const literals = findNonFinite(text);
  if (literals.length === 0) return parseJson(where, text, Refusal);
  // JSON has no NaN, but it has numbers too large for a double: "1e999" is Infinity.
  const standIn = randomUUID();
  const replacements: Readonly<Record<string, string>> = {
    NaN: `["${standIn}"]`, // no string: as a key it would be valid
    Infinity: "1e999",
    "-Infinity": "-1e999",
  };
  let valid = "";
  let end = 0;
  for (const { offset, literal } of literals) {
    valid += text.slice(end, offset) + replacements[literal];
    end = offset + literal.length;
  }
  const json = parseJson(where, valid + text.slice(end), Refusal);
  return reviveNaN(json, standIn);
}

/** Parses JSON whose top level is an object. @throws CheckpointError naming the file */
export function parseJsonObject(where: string, text: string): Record<string, unknown> {
  return requireObject(where, parseJson(where, text));
}

/**
 * The same, as Python's json module parses it, for files that Python writes. @throws CheckpointError naming the file
 */
export function parsePythonJsonObject(where: string, text: string): Record<string, unknown> {
  return requireObject(where, parsePythonJson(where, text));
}

function requireObject(where: string, json: unknown): Record<string, unknown> {
  if (!isObject(json)) throw new CheckpointError(`${where}: expected a JSON object at the top level`);
  return json;
}

/** The text with numbers of the same length in place of Python's NaN and Infinity, for tools that know only JSON. */
export function withFiniteNumbers(text: string): string {
  let finite = "";
  let end = 0;
  for (const { offset, literal } of findNonFinite(text)) {
    finite += text.slice(end, offset) + (literal.startsWith("-") ? "-1" : "1").padEnd(literal.length, "0");
    end = offset + literal.length;
  }
  return finite + text.slice(end);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value for messages: JSON as Python writes it, cut to a length. */
export function showJson(value: unknown): string {
  const marked = JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === "number" && !Number.isFinite(entry) ? `\u0000${entry}` : entry,
  );
  const text = marked?.replace(/"\\u0000(NaN|-?Infinity)"/g, "$1") ?? "nothing";
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/**
 * A key that occurs twice in the top-level object: JSON.parse silently keeps the last.
 * @param text valid JSON
 * @param json what it parses to
 */
export function findDuplicateKey(text: string, json: Readonly<Record<string, unknown>>): string | undefined {
  if (measureJson(text).topLevelKeys === Object.keys(json).length) return undefined;
  const seen = new Set<string>();
  let duplicate: string | undefined;
  measureJson(text, (start, end) => {
    const key = String(JSON.parse(text.slice(start, end)));
    if (seen.has(key)) duplicate ??= key;
    seen.add(key);
  });
  return duplicate;
}

interface NonFiniteLiteral {
  readonly offset: number;
  readonly literal: string;
}

const NON_FINITE = ["NaN", "Infinity", "-Infinity"];

/** Where the text has NaN, Infinity or -Infinity outside of strings and apart from other words. */
function findNonFinite(text: string): NonFiniteLiteral[] {
  const found: NonFiniteLiteral[] = [];
  if (!text.includes("NaN") && !text.includes("Infinity")) return found;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
    } else if (code === CAPITAL_N || code === CAPITAL_I || code === MINUS) {
      const literal = NON_FINITE.find((word) => text.startsWith(word, at));
      if (literal === undefined) continue;
      if (!isPartOfWord(text[at - 1]) && !isPartOfWord(text[at + literal.length])) found.push({ offset: at, literal });
      at += literal.length - 1;
    }
  }
  return found;
}

function isPartOfWord(character: string | undefined): boolean {
  return character !== undefined && /[\w.+-]/.test(character);
}

/** Replaces the placeholder by NaN. */
function reviveNaN(json: unknown, standIn: string): unknown {
  const isNaNHere = (value: unknown) => Array.isArray(value) && value[0] === standIn;
  if (isNaNHere(json)) return Number.NaN;
  const waiting = [json];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next !== "object" || next === null) continue;
    for (const [key, value] of Object.entries(next)) {
      if (isNaNHere(value)) Object.defineProperty(next, key, { value: Number.NaN });
      else if (typeof value === "object" && value !== null) waiting.push(value);
    }
  }
  return json;
}

interface JsonMeasure {
  readonly nesting: number;
  /** An upper bound, not counting keys. */
  readonly values: number;
  readonly topLevelKeys: number;
}

const [QUOTE, BACKSLASH, COMMA, COLON, CAPITAL_N, CAPITAL_I, MINUS] = ['"', "\\", ",", ":", "N", "I", "-"].map(
  (character) => character.charCodeAt(0),
);
const [OPEN_ARRAY, OPEN_OBJECT, CLOSE_ARRAY, CLOSE_OBJECT] = ["[", "{", "]", "}"].map((bracket) =>
  bracket.charCodeAt(0),
);

/**
 * Scans the text once, in constant memory. For text that is not JSON the counts are meaningless.
 * @param onTopLevelKey is called with the place of each key of the top-level object, including quotes
 */
function measureJson(text: string, onTopLevelKey?: (start: number, end: number) => void): JsonMeasure {
  let [depth, nesting, values, topLevelKeys, start, end] = [0, 0, 1, 0, 0, 0];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      start = at;
      at = endOfString(text, at);
      end = at + 1;
    } else if (code === COMMA) {
      values++;
    } else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      values++;
      nesting = Math.max(nesting, ++depth);
    } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) {
      depth--;
    } else if (code === COLON && depth === 1) {
      topLevelKeys++;
      onTopLevelKey?.(start, end);
    }
  }
  return { nesting, values, topLevelKeys };
}

/** The place of the closing quote of the string that begins at `start`; the text's length if there is none. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (let inside = text.charCodeAt(at); inside !== QUOTE && at < text.length; inside = text.charCodeAt(++at)) {
    if (inside === BACKSLASH) at++;
  }
  return at;
}
