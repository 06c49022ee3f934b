// HTML that cannot be broken by what it shows: every text that goes into markup is escaped unless it is markup itself.
// Pure; knows no results.

import { escapeJson, showLines } from "./shown-text.js";

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

/** Spaces of a sentence at which a number would part from its unit, and numbers with an exponent, where browsers break. */
const BEFORE_UNIT = /(?<=\d) (?=%|nats|dB|bits?\b|bytes?\b|tokens?\b|[KMGT]iB|±)|(?<=±) (?=\d)/g;
const EXPONENTIAL = /([-+]?\d[\d.]*e[-+]?\d+)/;

/** A sentence whose numbers stay on one line, with their exponents and units. */
export function unbroken(text: string): Content {
  const parts = text.replaceAll(BEFORE_UNIT, "\u00a0").split(EXPONENTIAL);
  return parts.map((part, index) => (index % 2 === 0 ? part : html`<span class="whole">${part}</span>`));
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

/** Fit for content and for attributes in quotes. */
function escapeHtml(text: string): string {
  return showLines(text.replaceAll("\r\n", "\n")).replaceAll(
    /[&<>"']/g,
    (character) => ENTITIES[character] ?? character,
  );
}

/**
 * JSON that may stand inside a script element: without "<", so that nothing ends the element or opens a comment, and
 * with escapes for what cannot be shown, such as the line ends of Unicode. What is not finite becomes null.
 */
export function scriptJson(value: unknown): Markup {
  return new Markup(escapeJson(JSON.stringify(value), "<>&"));
}
