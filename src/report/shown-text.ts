// Makes texts of others (checkpoints, prompts, file names, options, servers, models) safe to show: characters that
// control a terminal, reorder text or hide it are written out, such as `\x1b` for ESC, and long texts are cut, with a
// mark. The only place that does so: messages, progress lines and all reports go through it.

declare const SHOWN: unique symbol;

/** A text on one line, without any character that steers, reorders or hides. */
export type ShownText = string & { readonly [SHOWN]: true };

/** A value in which every text is safe to show; names from our own fixed lists keep their types. */
export type Shown<Value> = Value extends string
  ? string extends Value
    ? ShownText
    : Value
  : Value extends object
    ? { readonly [Key in keyof Value]: Shown<Value[Key]> }
    : Value;

/** Characters of a name or a sentence: several times as many as any real one has. */
export const NAME_LIMIT = 1000;
/** Characters of a path that the user may copy: as many as a system allows. */
export const PATH_LIMIT = 4096;
/** Characters of a text that a model wrote: more than the longest answer. */
export const GENERATED_LIMIT = 100_000;

/** Share of the limit for the beginning of a cut text. The rest is for its end, where messages say what to do. */
const SHARE_OF_BEGINNING = 0.7;

/**
 * Controls (C0, C1, DEL), formats (bidirectional controls among them), line and paragraph separators, lone surrogates,
 * characters without a shape (zero-width, soft hyphen, fillers, tags), and what is no character.
 */
const UNSHOWABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]/u;

/** A letter or mark of a script in which joiners change how letters are written. */
const JOINING = `[${"Arab Syrc Nkoo Mong Deva Beng Guru Gujr Orya Taml Telu Knda Mlym Sinh Khmr Mymr Tibt".replaceAll(/\w+ ?/g, (script) => `\\p{Script_Extensions=${script.trim()}}`)}]`;

/**
 * Characters without a shape that are part of what stands before them, as scripts and emoji need them: a variation
 * selector, or a joiner between two emoji or two letters of a script that joins. Anywhere else they hide something.
 */
const ATTACHED = [
  String.raw`(?<=\p{Extended_Pictographic})[\u{FE0E}\u{FE0F}]`,
  String.raw`(?<=[0-9#*])\u{FE0F}(?=\u{20E3})`,
  String.raw`(?<=\p{Script=Han})[\u{FE00}-\u{FE0F}\u{E0100}-\u{E01EF}]`,
  String.raw`(?<=\p{Extended_Pictographic}\u{FE0F}?|\p{Emoji_Modifier})\u{200D}(?=\p{Extended_Pictographic})`,
  String.raw`(?<=${JOINING})[\u{200C}\u{200D}](?=${JOINING})`,
].join("|");
const ATTACHED_OR_UNSHOWABLE = new RegExp(`(?<attached>${ATTACHED})|${UNSHOWABLE.source}`, "gu");

/** A text on one line: "\n" is shown as well, so that it cannot begin a line that looks like ours. */
export function showLine(text: string, limit?: number): ShownText;
export function showLine(text: string, limit = NAME_LIMIT): string {
  const { beginning, end, left } = cutMiddle(text, limit);
  if (left === 0) return showCharacters(text);
  return `${showCharacters(beginning)}…[${left} characters cut]…${showCharacters(end)}`;
}

/**
 * A text of several lines, of any length: line ends and tabs are kept. With `colors`, our own colours are kept, too.
 */
export function showLines(text: string, { colors = false }: { readonly colors?: boolean } = {}): string {
  if (!UNSHOWABLE.test(text)) return text;
  const pieces = text.split(colors ? KEPT_WITH_COLORS : KEPT);
  return pieces.map((piece, index) => (index % 2 === 1 ? piece : showCharacters(piece))).join("");
}

const KEPT = /([\n\t])/;
/** Select Graphic Rendition, which colours text and does nothing else. */
const KEPT_WITH_COLORS = new RegExp(`([\\n\\t]|${String.fromCharCode(0x1b)}\\[[\\d;]*m)`);

/**
 * A result in which every text is safe on one line. Reports are made from this, so no text can end a line, a table cell
 * or an attribute.
 * @param limit of each text, in characters
 */
export function shown<Value>(value: Value, limit?: number): Shown<Value>;
export function shown(value: unknown, limit = NAME_LIMIT): unknown {
  if (typeof value === "string") return showLine(value, limit);
  if (Array.isArray(value)) return value.map((entry) => shown(entry, limit));
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, shown(entry, limit)]));
}

/** JSON, indented, that a terminal shows as it stands: the same value, with escapes for what cannot be shown. */
export function jsonDocument(value: unknown): string {
  return `${escapeJson(JSON.stringify(value, null, 2))}\n`;
}

/** JSON with escapes for what cannot be shown and for some characters more. Line ends between its values stay. */
export function escapeJson(json: string, others = ""): string {
  const wanted = new RegExp(`(?!\\n)(?:${UNSHOWABLE.source}${others === "" ? "" : `|[${others}]`})`, "gu");
  return json.replaceAll(wanted, (character) =>
    Array.from({ length: character.length }, (_, index) => `\\u${hex(character.charCodeAt(index), 4)}`).join(""),
  );
}

function showCharacters(text: string): string {
  if (!UNSHOWABLE.test(text)) return text;
  return text.replaceAll(ATTACHED_OR_UNSHOWABLE, (character, attached?: string) =>
    attached === undefined ? notationOf(character) : character,
  );
}

const NOTATIONS: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** As JavaScript and most shells write it: `\n`, `\x1b`, `\u202e`, `\u{e0041}`. */
function notationOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code > 0xffff) return `\\u{${code.toString(16)}}`;
  return NOTATIONS[character] ?? (code > 0xff ? `\\u${hex(code, 4)}` : `\\x${hex(code, 2)}`);
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

/** The beginning and the end of a text that has more than `limit` characters when it is shown. `left` is what is between. */
function cutMiddle(text: string, limit: number): { beginning: string; end: string; left: number } {
  if (shownLength(text, limit) === text.length) return { beginning: text, end: "", left: 0 };
  const beginning = text.slice(0, shownLength(text, Math.floor(limit * SHARE_OF_BEGINNING)));
  const backwards = [...text.slice(-limit)].reverse();
  const end = backwards.slice(0, shownCount(backwards, limit - Math.floor(limit * SHARE_OF_BEGINNING)));
  const endText = end.reverse().join("");
  return { beginning, end: endText, left: text.length - beginning.length - endText.length };
}

/** How much of a text fits into `limit` characters when it is shown, no character cut in halves. */
function shownLength(text: string, limit: number): number {
  const characters = [...text.slice(0, limit + 1)];
  const count = shownCount(characters, limit);
  return characters.slice(0, count).join("").length;
}

/** How many of the first characters fit into `limit` characters when they are shown. */
function shownCount(characters: readonly string[], limit: number): number {
  let width = 0;
  const first = characters.findIndex((character) => {
    width += UNSHOWABLE.test(character) ? notationOf(character).length : character.length;
    return width > limit;
  });
  return first === -1 ? characters.length : first;
}
