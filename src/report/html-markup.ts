// HTML that cannot be broken by what it shows: every text that goes into markup is escaped unless it is markup itself.
// Pure; knows no results.

/** HTML that is written out as it stands. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Content = string | number | Markup | undefined | readonly Content[];

/** A template of HTML. What is put into it is escaped, markup excepted; lists are joined, undefined is nothing. */
export function html(literals: TemplateStringsArray, ...contents: readonly Content[]): Markup {
  return new Markup(literals.map((literal, index) => literal + textOf(contents[index])).join(""));
}

function textOf(content: Content): string {
  if (content === undefined) return "";
  if (content instanceof Markup) return content.text;
  return typeof content === "object" ? content.map(textOf).join("") : escapeHtml(String(content));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Fit for content and for attributes in quotes. Control characters become their pictures: HTML cannot hold them. */
function escapeHtml(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replaceAll(/[\p{Cc}\p{Cs}\u{FFFE}\u{FFFF}]/gu, pictureOf)
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

/** ESC → "␛"; what has no picture becomes U+FFFD. */
function pictureOf(character: string): string {
  if (character === "\n" || character === "\t") return character;
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : "\uFFFD";
}

/**
 * JSON that may stand inside a script element: without "<", so that nothing ends the element or opens a comment, and
 * without the line ends that old JavaScript reads in the middle of a string. What is not finite becomes null.
 */
export function scriptJson(value: unknown): Markup {
  const toEscape = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return new Markup(JSON.stringify(value).replaceAll(/[<>&\u2028\u2029]/g, toEscape));
}
