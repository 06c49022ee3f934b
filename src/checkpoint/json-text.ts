// Parses JSON that comes from strangers: how deep it nests and how much is in it is known before anything is built of it.
// Knows nothing of what it means.

import { CheckpointError, messageOf } from "../errors.js";
import type { RefusalClass } from "./plain-file.js";

/** The limit of safetensors' reference reader. Whatever walks the value later, ours or a library, may be recursive. */
const MAX_NESTING = 128;

/**
 * Gemma's tokenizer.json, the largest that is known, has two million. Each takes up to a hundred bytes once it is parsed,
 * so these take two seconds and some hundred megabytes at most.
 */
const MAX_VALUES = 4_000_000;

/** So much of a value is shown in a message. */
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

/** Parses JSON whose top level is an object. @throws CheckpointError naming the file */
export function parseJsonObject(where: string, text: string): Record<string, unknown> {
  const json = parseJson(where, text);
  if (!isObject(json)) throw new CheckpointError(`${where}: expected a JSON object at the top level`);
  return json;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value as messages show it: JSON, cut. */
export function showJson(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/**
 * A key that an object at the top level has twice: JSON.parse keeps the last of two without a word.
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

interface JsonMeasure {
  readonly nesting: number;
  /** An upper bound, keys left out. */
  readonly values: number;
  readonly topLevelKeys: number;
}

const [QUOTE, BACKSLASH, COMMA, COLON] = ['"', "\\", ",", ":"].map((character) => character.charCodeAt(0));
const [OPEN_ARRAY, OPEN_OBJECT, CLOSE_ARRAY, CLOSE_OBJECT] = ["[", "{", "]", "}"].map((bracket) =>
  bracket.charCodeAt(0),
);

/**
 * Walks over the text once, in constant memory. Of text that is not JSON the numbers mean nothing.
 * @param onTopLevelKey is told where each key of an object at the top level lies, quotes included
 */
function measureJson(text: string, onTopLevelKey?: (start: number, end: number) => void): JsonMeasure {
  let [depth, nesting, values, topLevelKeys, start, end] = [0, 0, 1, 0, 0, 0];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      start = at++;
      for (let inside = text.charCodeAt(at); inside !== QUOTE && at < text.length; inside = text.charCodeAt(++at)) {
        if (inside === BACKSLASH) at++;
      }
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
