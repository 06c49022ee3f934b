// Texts of others on their way to a reader: nothing in them steers, reorders or hides, and all that is readable stays.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { escapeJson, jsonDocument, NAME_LIMIT, showLine, showLines, shown } from "../../src/report/shown-text.js";
import { HOSTILE_TEXTS, misleadingIn } from "./hostile-texts.js";

const ESCAPE = "\u001B";

/** Any sequence of UTF-16 units, many of them of the kind that must not be written out as they are. */
const anyText = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0, max: 0xa0 }),
      fc.constantFrom(0x1b, 0x0a, 0x5b, 0x6d, 0x200d, 0xfe0f, 0x202e, 0x2028, 0xd83d, 0xde00, 0xdb40, 0xdc41, 0x0915),
    ),
    { maxLength: 200 },
  )
  .map((units) => String.fromCharCode(...units));

describe("a text on one line", () => {
  test.each([
    ["a line end", "a\nb\r\n\tc", "a\\nb\\r\\n\\tc"],
    ["ESC", "\u001B[2J", "\\x1b[2J"],
    ["NUL, BEL, DEL and C1", "\u0000\u0007\u007F\u009B", "\\x00\\x07\\x7f\\x9b"],
    ["bidirectional controls", "\u202Ea\u202C\u2066b\u2069", "\\u202ea\\u202c\\u2066b\\u2069"],
    ["line ends of Unicode", "\u2028\u2029\u0085", "\\u2028\\u2029\\x85"],
    ["what has no width", "pay\u200Bpal\uFEFF\u00AD\u2060", "pay\\u200bpal\\ufeff\\xad\\u2060"],
    ["tags", "\u{E0041}", "\\u{e0041}"],
    ["halves of pairs", "\uD800a\uDC00", "\\ud800a\\udc00"],
    ["a joiner between Latin letters", "pay\u200Dpal", "pay\\u200dpal"],
    ["a joiner between a selector that belongs to nothing and an emoji", "\uFE0F\u200D\u26F0", "\\ufe0f\\u200d\u26F0"],
    ["a variation selector after a letter", "a\uFE0F", "a\\ufe0f"],
    ["a second variation selector", "\u2764\uFE0F\uFE0F", "\u2764\uFE0F\\ufe0f"],
  ])("writes out %s", (_what, text, expected) => {
    expect(showLine(text)).toBe(expected);
  });

  test.each([
    ["letters of every script", "é ß 日本語 Ελληνικά עברית العربية 한국어"],
    [
      "emoji of several characters",
      "\u{1F468}\u200D\u{1F469}\u200D\u{1F467} \u2764\uFE0F \u{1F44B}\u{1F3FD} 1\uFE0F\u20E3",
    ],
    ["joiners of scripts that have them", "می\u200Cخواهم क\u094D\u200Dष"],
    ["a variant of an ideograph", "\u845B\u{E0100}"],
    ["backslashes and signs", "C:\\models\\x $ ` | < > & \u00A0"],
  ])("keeps %s", (_what, text) => {
    expect(showLine(text)).toBe(text);
  });

  test.each([10, 100, NAME_LIMIT])(
    "of more than %d characters is cut in the middle, which says by how much",
    (limit) => {
      const text = `begin ${"x".repeat(5000)} end`;
      const [, beginning = "", count, end = ""] =
        /^(.*)…\[(\d+) characters cut\]…(.*)$/.exec(showLine(text, limit)) ?? [];
      expect(beginning.length + end.length).toBe(limit);
      expect(Number(count)).toBe(text.length - limit);
      expect(text.startsWith(beginning) && text.endsWith(end)).toBe(true);
    },
  );

  test("of exactly the limit is whole, and no character is cut in halves", () => {
    expect(showLine("x".repeat(100), 100)).toBe("x".repeat(100));
    expect(showLine("\u{1F600}".repeat(100), 101)).toMatch(/^(?:\u{1F600})+…\[\d+ characters cut\]…(?:\u{1F600})+$/u);
  });

  test("never has what misleads, and never more than the limit and its mark, whatever it was", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 300 }), (text, limit) => {
        const line = showLine(text, limit);
        expect(misleadingIn(line)).toEqual([]);
        expect(line).not.toMatch(/[\n\t]/);
        expect(line.length).toBeLessThanOrEqual(limit + "…[65536 characters cut]…".length);
        expect(showLine(line)).toBe(line);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a text of several lines", () => {
  test("keeps its line ends and tabs, and nothing else that steers", () => {
    expect(showLines("a\tb\n\u001B[31mc\r\n")).toBe("a\tb\n\\x1b[31mc\\r\n");
  });

  test("keeps colours alone where there are colours", () => {
    const text = `${ESCAPE}[1m${ESCAPE}[38;5;9mx${ESCAPE}[0m${ESCAPE}[2J${ESCAPE}]0;t\u0007${ESCAPE}[?25l`;
    expect(showLines(text, { colors: true })).toBe(
      `${ESCAPE}[1m${ESCAPE}[38;5;9mx${ESCAPE}[0m\\x1b[2J\\x1b]0;t\\x07\\x1b[?25l`,
    );
  });

  test("has as many lines as before, whatever it was", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const lines = showLines(text);
        expect(misleadingIn(lines)).toEqual([]);
        expect(lines.split("\n")).toHaveLength(text.split("\n").length);
      }),
    );
  });
});

describe("a value", () => {
  test("has every text in it shown, at any depth, and nothing else changed", () => {
    const value = { a: ["\n", { b: "\u001B" }], c: 1, d: undefined, e: null, f: true, g: Number.NaN, h: [1, 2] };
    expect(shown(value)).toEqual({ ...value, a: ["\\n", { b: "\\x1b" }] });
  });
});

describe("JSON", () => {
  test.each(Object.entries(HOSTILE_TEXTS))("has no character that misleads, and comes back: %s", (_name, text) => {
    const document = jsonDocument({ [text]: [text] });
    expect(misleadingIn(document)).toEqual([]);
    expect(document.split("\n")).toHaveLength(6);
    expect(JSON.parse(document)).toEqual({ [text]: [text] });
  });

  test("of any value comes back", () => {
    fc.assert(
      fc.property(fc.jsonValue(), anyText, (value, text) => {
        const document = jsonDocument([value, text]);
        expect(misleadingIn(document)).toEqual([]);
        expect(JSON.parse(document)).toEqual(JSON.parse(JSON.stringify([value, text])));
      }),
    );
  });

  test("has escapes for what else is asked for", () => {
    expect(escapeJson('"a<b"', "<")).toBe('"a\\u003cb"');
  });
});
