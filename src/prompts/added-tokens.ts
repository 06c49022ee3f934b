// Finds the added tokens of tokenizer.json in a text, as Python's tokenizers does: first those that are searched in the
// original text, then, in the rest, those that are searched in the normalized text. Knows nothing of models.

import type { Normalize } from "./normalizers.js";
import type { Piece } from "./pre-tokenizers.js";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Whether it is searched in the normalized text. */
  readonly normalized: boolean;
  /** Whether it takes the white space before it, and after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Whether it counts only as a whole word. */
  readonly single_word: boolean;
}

/** A found token, or a normalized piece for the model. */
export type Section = { readonly id: number } | Piece;

/** How a text is cut at added tokens. */
export function createTokenFinder(
  tokens: readonly AddedToken[],
  normalize: Normalize,
): (text: string) => readonly Section[] {
  const asWritten = new TokenTrie(
    tokens.filter(({ normalized }) => !normalized).map((token) => [token.content, token]),
  );
  const asNormalized = new TokenTrie(
    tokens.filter(({ normalized }) => normalized).map((token) => [normalize(token.content), token]),
  );
  return (text) =>
    cut({ text, isFirst: true }, asWritten).flatMap((section) => {
      if ("id" in section) return [section];
      return cut({ ...section, text: normalize(section.text) }, asNormalized);
    });
}

const WORD = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
const ENDS_IN_WORD = new RegExp(`${WORD}$`, "u");
const BEGINS_WITH_WORD = new RegExp(`^${WORD}`, "u");
const IS_SPACE = /^\p{White_Space}$/u;

function cut({ text, isFirst }: Piece, trie: TokenTrie): Section[] {
  const sections: Section[] = [];
  let end = 0; // of what has been taken
  const take = (start: number) => {
    if (start > end) sections.push({ text: text.slice(end, start), isFirst: isFirst && end === 0 });
  };
  for (let at = 0; at < text.length; ) {
    const found = trie.longestAt(text, at);
    if (found === undefined) {
      at++;
      continue;
    }
    const { token, length } = found;
    const [start, stop] = [at, at + length];
    at = stop;
    if (token.single_word && !standsAlone(text, start, stop)) continue;
    const first = token.lstrip ? Math.max(spacesBefore(text, start), end) : start;
    const last = token.rstrip ? spacesBehind(text, stop) : stop;
    take(first);
    sections.push({ id: token.id });
    end = last;
    at = Math.max(at, last);
  }
  take(text.length);
  return sections;
}

function standsAlone(text: string, start: number, stop: number): boolean {
  // Two units: a character may have that many.
  return (
    !ENDS_IN_WORD.test(text.slice(Math.max(0, start - 2), start)) && !BEGINS_WITH_WORD.test(text.slice(stop, stop + 2))
  );
}

function spacesBefore(text: string, start: number): number {
  let first = start;
  while (first > 0 && IS_SPACE.test(text[first - 1] ?? "")) first--;
  return first;
}

function spacesBehind(text: string, stop: number): number {
  let last = stop;
  while (last < text.length && IS_SPACE.test(text[last] ?? "")) last++;
  return last;
}

interface TrieNode {
  readonly next: Map<number, TrieNode>;
  token?: AddedToken;
}

class TokenTrie {
  readonly #root: TrieNode = { next: new Map() };

  constructor(tokens: readonly (readonly [text: string, token: AddedToken])[]) {
    for (const [text, token] of tokens) {
      if (text === "") continue;
      let node = this.#root;
      for (let at = 0; at < text.length; at++) {
        const code = text.charCodeAt(at);
        const next = node.next.get(code) ?? { next: new Map() };
        node.next.set(code, next);
        node = next;
      }
      node.token ??= token;
    }
  }

  longestAt(text: string, start: number): { readonly token: AddedToken; readonly length: number } | undefined {
    let found: { token: AddedToken; length: number } | undefined;
    let node = this.#root.next.get(text.charCodeAt(start));
    for (let at = start + 1; node !== undefined; at++) {
      if (node.token !== undefined) found = { token: node.token, length: at - start };
      node = node.next.get(text.charCodeAt(at));
    }
    return found;
  }
}
