// Finds objects with a numeric "length", which the tokenizer library would take for lists and loop over. Knows nothing
// of tokenizers.

import { isObject, showJson } from "../checkpoint/json-text.js";
import { CheckpointError } from "../errors.js";

/** @throws CheckpointError when a value other than a vocabulary, whose keys are tokens, has a number for its "length" */
export function refuseFalseLengths(path: string, json: Readonly<Record<string, unknown>>): void {
  const waiting: [key: string, value: unknown][] = Object.entries(json);
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [key, value] = next;
    const isMeant = isObject(value) && value.type === "FixedLength";
    if (isObject(value) && !isMeant && key !== "vocab" && typeof value.length === "number") {
      throw new CheckpointError(`${path}: ${key}: expected a list or a text, found ${showJson(value)}`);
    }
    if (typeof value !== "object" || value === null || key === "vocab") continue;
    for (const [inner, entry] of Object.entries(value)) {
      if (typeof entry === "object" && entry !== null) waiting.push([inner, entry]);
    }
  }
}
