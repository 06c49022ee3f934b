// Texts cut to columns of a terminal, where some characters take two. Pure; knows no results.

/** From here on, characters may be two columns wide (Hangul, CJK, emoji); all of them count as such but for a few. */
const FIRST_WIDE = 0x1100;
/** Dashes and ellipses, arrows, and what lines and bars are drawn with. */
const NARROW: readonly (readonly [first: number, last: number])[] = [
  [0x2010, 0x2027],
  [0x2190, 0x21ff],
  [0x2500, 0x259f],
];

/** A text of at most `columns` columns, with an ellipsis where it is cut. */
export function clipText(text: string, columns: number): string {
  const line = text.trim();
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
  return reversed(clipText(reversed(text), columns));
}

function widthOf(character: string): number {
  return isWide(character) ? 2 : 1;
}

/** Whether a character may be two columns wide. */
export function isWide(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return code >= FIRST_WIDE && !NARROW.some(([first, last]) => code >= first && code <= last);
}

function withoutLast(text: string): string {
  return [...text].slice(0, -1).join("");
}
