// Patterns of tokenizer.json (Oniguruma's regular expressions, or texts) as JavaScript's, and what a text consists of by
// them. The translation is the library's. Knows nothing of tokens.

import { isObject, showJson } from "../checkpoint/json-text.js";
import { openLibrary } from "./tokenizer-library.js";

/** A part of a text: what a pattern matches, or what stands between. */
export interface TextPart {
  readonly text: string;
  readonly isMatch: boolean;
}

export const BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
export type SplitBehavior = (typeof BEHAVIORS)[number];

/**
 * The expression of a pattern `{"Regex": …}` or `{"String": …}`, with the flags g and u.
 * @throws Error when it is none of them, or has what JavaScript cannot match
 */
export function compilePattern(pattern: unknown): RegExp {
  if (isObject(pattern) && typeof pattern.String === "string") {
    return new RegExp(pattern.String.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "gu");
  }
  if (!isObject(pattern) || typeof pattern.Regex !== "string") {
    throw new Error(`expected a pattern with "Regex" or "String", found ${showJson(pattern)}`);
  }
  const { pre_tokenizer: split } = openLibrary({
    pre_tokenizer: { type: "Split", pattern: { Regex: pattern.Regex }, invert: false },
  });
  const compiled: unknown = isObject(split) || typeof split === "function" ? Reflect.get(split, "pattern") : undefined;
  if (compiled instanceof RegExp) return compiled;
  throw new Error(`the pattern ${showJson(pattern)} is not understood`);
}

/** The whole text, in parts. */
export function partsOf(text: string, pattern: RegExp): TextPart[] {
  const parts: TextPart[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) parts.push({ text: text.slice(end, match.index), isMatch: false });
    parts.push({ text: match[0], isMatch: true });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), isMatch: false });
  return parts;
}

/** What the parts become: matches stand alone, go, or join their neighbours. None is empty. */
export function splitParts(parts: readonly TextPart[], behavior: SplitBehavior): string[] {
  switch (behavior) {
    case "Isolated":
      return parts.map(({ text }) => text).filter((text) => text !== "");
    case "Removed":
      return parts.filter(({ isMatch, text }) => !isMatch && text !== "").map(({ text }) => text);
    case "Contiguous":
      return join(parts, (part, before) => part.isMatch === before.isMatch);
    case "MergedWithPrevious":
      return join(parts, (part, before) => part.isMatch && !before.isMatch);
    case "MergedWithNext":
      return join([...parts].reverse(), (part, before) => part.isMatch && !before.isMatch, true);
  }
}

/** Joins a part to what came before it where both belong together. */
function join(
  parts: readonly TextPart[],
  belongs: (part: TextPart, before: TextPart) => boolean,
  isReversed = false,
): string[] {
  const joined: string[] = [];
  for (const [index, part] of parts.entries()) {
    const before = parts[index - 1];
    const last = joined.at(-1);
    if (before !== undefined && last !== undefined && belongs(part, before)) {
      joined[joined.length - 1] = isReversed ? part.text + last : last + part.text;
    } else {
      joined.push(part.text);
    }
  }
  const inOrder = isReversed ? joined.reverse() : joined;
  return inOrder.filter((text) => text !== "");
}
