// Texts that others wrote, a model too, made fit for one line of a terminal. Pure; knows no results.

import { stripVTControlCharacters } from "node:util";

/** From here on, characters may be two columns wide (Hangul, CJK, emoji); all of them count as such. */
const FIRST_WIDE = 0x1100;

/** On one line, without control characters: what stands in a checkpoint or a model wrote must not steer the terminal. */
export function plainText(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, " ");
}

/** A plain text of at most `columns` columns, with an ellipsis where it is cut. */
export function clipText(text: string, columns: number): string {
  const line = plainText(text).trim();
  let width = 0;
  let clipped = "";
  for (const character of line) {
    const size = widthOf(character);
    if (width + size > columns) return clipped.length === 0 ? "" : `${withoutLast(clipped)}…`;
    width += size;
    clipped += character;
  }
  return clipped;
}

/** The same with the beginning cut. */
export function clipStart(text: string, columns: number): string {
  const reversed = (line: string) => [...line].reverse().join("");
  return reversed(clipText(reversed(plainText(text)), columns));
}

function widthOf(character: string): number {
  return isWide(character) ? 2 : 1;
}

/** Whether a character may be two columns wide. */
export function isWide(character: string): boolean {
  return (character.codePointAt(0) ?? 0) >= FIRST_WIDE;
}

function withoutLast(text: string): string {
  return [...text].slice(0, -1).join("");
}
