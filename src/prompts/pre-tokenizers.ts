// The pre-tokenizers of tokenizer.json, as in Python's tokenizers: where a text is split before the model. They are
// here because the library has only one behavior of Split, only ASCII words, and does not split at Metaspace's mark.
// Knows nothing of tokens; what it cannot do as Python does is refused by name.

import { isObject, showJson } from "../checkpoint/json-text.js";
import { toByteCharacters } from "./byte-characters.js";
import { BEHAVIORS, compilePattern, partsOf, type SplitBehavior, splitParts } from "./text-patterns.js";

/** A piece of a text. */
export interface Piece {
  readonly text: string;
  /** Whether it is the beginning of what was to be encoded. */
  readonly isFirst: boolean;
}

export type PreTokenize = (piece: Piece) => readonly Piece[];
type Settings = Readonly<Record<string, unknown>>;

const WORD = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
const WORDS = new RegExp(`${WORD}+|(?!${WORD})\\P{White_Space}(?:(?!${WORD})\\P{White_Space})*`, "gu");
const SPACES = /\p{White_Space}/gu;
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const NUMBER = /\p{N}/gu;
const ANY_LETTERS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const PRE_TOKENIZERS: Readonly<Record<string, (settings: Settings) => PreTokenize>> = {
  Split: ({ pattern, behavior, invert }) => split(compilePattern(pattern), behaviorOf(behavior), invert === true),
  Whitespace: () => split(WORDS, "Removed", true),
  WhitespaceSplit: () => split(SPACES, "Removed"),
  CharDelimiterSplit: ({ delimiter }) => split(compilePattern({ String: String(delimiter) }), "Removed"),
  Punctuation: ({ behavior = "Isolated" }) => split(PUNCTUATION, behaviorOf(behavior)),
  Digits: ({ individual_digits: isSingle }) => split(NUMBER, isSingle === true ? "Isolated" : "Contiguous"),
  BertPreTokenizer: () => inTurn([split(SPACES, "Removed"), split(PUNCTUATION, "Isolated")]),
  FixedLength: ({ length }) => fixedLength(Number(length ?? 5)),
  Metaspace: metaspace,
  ByteLevel: byteLevel,
  Sequence: ({ pretokenizers }) => inTurn((Array.isArray(pretokenizers) ? pretokenizers : []).map(createPreTokenizer)),
};

/** @throws Error naming what is not supported */
export function createPreTokenizer(settings: unknown): PreTokenize {
  if (settings === null || settings === undefined) return (piece) => [piece];
  const type = isObject(settings) ? String(settings.type) : showJson(settings);
  const create = Object.hasOwn(PRE_TOKENIZERS, type) ? PRE_TOKENIZERS[type] : undefined;
  if (create === undefined || !isObject(settings)) {
    const known = Object.keys(PRE_TOKENIZERS).join(", ");
    throw new Error(`the pre-tokenizer ${type} is not supported; supported are ${known}`);
  }
  return create(settings);
}

function behaviorOf(behavior: unknown): SplitBehavior {
  const known = BEHAVIORS.find((name) => name === behavior);
  if (known !== undefined) return known;
  throw new Error(`the behavior ${showJson(behavior)} is not supported; supported are ${BEHAVIORS.join(", ")}`);
}

function inTurn(steps: readonly PreTokenize[]): PreTokenize {
  return (piece) => steps.reduce((pieces: readonly Piece[], step) => pieces.flatMap(step), [piece]);
}

function split(pattern: RegExp, behavior: SplitBehavior, isInverted = false): PreTokenize {
  return (piece) => {
    const parts = partsOf(piece.text, pattern);
    const chosen = isInverted ? parts.map(({ text, isMatch }) => ({ text, isMatch: !isMatch })) : parts;
    const texts = splitParts(chosen, behavior);
    // Where the first part goes, what follows is no beginning.
    const keepsStart = behavior !== "Removed" || chosen[0]?.isMatch !== true;
    return toPieces(piece, texts, keepsStart);
  };
}

function toPieces({ isFirst }: Piece, texts: readonly string[], keepsStart = true): Piece[] {
  return texts.map((text, index) => ({ text, isFirst: isFirst && keepsStart && index === 0 }));
}

function fixedLength(length: number): PreTokenize {
  if (!(Number.isSafeInteger(length) && length > 0)) throw new Error(`FixedLength: expected a length, found ${length}`);
  return (piece) => {
    const characters = Array.from(piece.text);
    const texts = Array.from({ length: Math.ceil(characters.length / length) }, (_, index) =>
      characters.slice(index * length, (index + 1) * length).join(""),
    );
    return toPieces(piece, texts);
  };
}

function metaspace({
  replacement: mark = "▁",
  add_prefix_space: hasPrefix = true,
  prepend_scheme: scheme = "always",
  split: splits = true,
}: Settings): PreTokenize {
  const isKnown = scheme === "always" || scheme === "first" || scheme === "never";
  if (typeof mark !== "string" || !isKnown || (hasPrefix === false && scheme !== "never")) {
    throw new Error(
      `Metaspace with prepend_scheme ${showJson(scheme)}, add_prefix_space ${showJson(hasPrefix)} and replacement ${showJson(mark)} is no valid combination`,
    );
  }
  const atMarks = split(compilePattern({ String: mark }), "MergedWithNext");
  return ({ text, isFirst }) => {
    const marked = text.replaceAll(" ", () => mark);
    const isLed = marked.startsWith(mark) || scheme === "never" || (scheme === "first" && !isFirst);
    const piece = { text: isLed ? marked : mark + marked, isFirst };
    return splits === false ? [piece] : atMarks(piece);
  };
}

function byteLevel({ add_prefix_space: hasPrefix = true, use_regex: usesRegex = true }: Settings): PreTokenize {
  const words = usesRegex === false ? undefined : split(compilePattern({ Regex: ANY_LETTERS }), "Isolated");
  return ({ text, isFirst }) => {
    const spaced = hasPrefix === true && !text.startsWith(" ") ? ` ${text}` : text;
    const pieces = words === undefined ? [{ text: spaced, isFirst }] : words({ text: spaced, isFirst });
    return pieces.map((piece) => ({ ...piece, text: toByteCharacters(piece.text) }));
  };
}
