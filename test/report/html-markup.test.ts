// Markup that no text can break: what comes from checkpoints and models is shown, never read as HTML or script.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { html, Markup, scriptJson, unbroken } from "../../src/report/html-markup.js";

describe("a template escapes what is put into it", () => {
  test.each<[string, Parameters<typeof html>[1], string]>([
    ["markup characters", `<b a="1" c='2'>&amp;`, "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;"],
    ["a list, one by one", ["<", new Markup("<br>"), 3], "&lt;<br>3"],
    ["nothing, as nothing", undefined, ""],
    ["control characters, written out", "\u0000\u001B[31m\u007F", "\\x00\\x1b[31m\\x7f"],
    ["what is no character, written out", "\u0085\uD800\uFFFE\uFFFF", "\\x85\\ud800\\ufffe\\uffff"],
    ["line ends and tabs, which stay", "a\r\nb\tc\n", "a\nb\tc\n"],
    ["a line end of its own kind, written out", "a\rb", "a\\rb"],
    ["letters of every script, which stay", "日本語 \u{1F600} é", "日本語 \u{1F600} é"],
  ])("%s", (_name, content, expected) => {
    expect(html`${content}`.text).toBe(expected);
  });

  test("any text comes back when the entities are read", () => {
    const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };
    // Others are written out: see shown-text.test.ts.
    const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]/u;
    const printable = fc.string({ unit: "grapheme" }).filter((text) => !unprintable.test(text));
    fc.assert(
      fc.property(printable, (text) => {
        const escaped = html`${text}`.text;
        expect(escaped).not.toMatch(/[<>"']/);
        expect(escaped.replaceAll(/&([^;]+);/g, (_, name: string) => entities[name] ?? "")).toBe(text);
      }),
    );
  });
});

test.each([
  [
    "0.13 % (-2.5e-6 to 9.16e-6)",
    '0.13\u00a0% (<span class="whole">-2.5e-6</span> to <span class="whole">9.16e-6</span>)',
  ],
  ["104.86 ± 3.6 of 2 tokens, 1.5 GiB", "104.86\u00a0±\u00a03.6 of 2\u00a0tokens, 1.5\u00a0GiB"],
  ["arm e5m2 <b>", "arm e5m2 &lt;b&gt;"],
])("numbers of %j stay whole and with their units", (text, expected) => {
  expect(html`${unbroken(text)}`.text).toBe(expected);
});

describe("JSON inside a script element", () => {
  test.each(["</script><script>alert(1)</script>", "<!-- <script>", "]]>", "a\u2028b\u2029c", "\uD800"])(
    "%j ends neither the element nor a string, and comes back",
    (text) => {
      const { text: json } = scriptJson({ [text]: [text] });
      expect(json).not.toMatch(/[<>&\u2028\u2029]/);
      expect(JSON.parse(json)).toEqual({ [text]: [text] });
    },
  );

  test("what is not finite is null", () => {
    expect(scriptJson([Number.NaN, Number.POSITIVE_INFINITY, 1.5]).text).toBe("[null,null,1.5]");
  });

  test("any value comes back", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(scriptJson(value).text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
