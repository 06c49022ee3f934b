// Lines that fit a screen, and what is never torn apart on the way: a number and its unit, an option and its value.

import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { wrapCommand, wrapText } from "../../src/report/wrapped-text.js";

describe("a sentence", () => {
  test.each([
    ["a number and its unit", "of the 13.2 GiB that", "13.2 GiB"],
    ["a share", "rose by 12.5 % here", "12.5 %"],
    ["a number and its error", "it is 12.345 ± 0.12 today", "12.345 ± 0.12"],
    ["an option and its value", "use --samples 512 here", "--samples 512"],
    ["a short option and its value", "or else -o folder then", "-o folder"],
  ])("keeps %s on one line", (_what, text, whole) => {
    for (let width = whole.length; width < 40; width++) {
      expect(wrapText(text, width).split("\n").join(" ")).toBe(text);
      expect(wrapText(text, width)).toContain(whole);
    }
  });

  test("has no line wider than the screen, unless a word is", () => {
    const word = fc.stringMatching(/^[a-z]{1,9}$/);
    fc.assert(
      fc.property(fc.array(word, { minLength: 1 }), fc.integer({ min: 20, max: 120 }), (words, width) => {
        const lines = wrapText(words.join(" "), width, "  ").split("\n");
        expect(lines.filter((line) => line.length > width)).toEqual([]);
        expect(lines.map((line) => line.trim()).join(" ")).toBe(words.join(" "));
      }),
      { numRuns: 200 },
    );
  });

  test("may break a list of numbers", () => {
    expect(wrapText("1 2 3 4 5 6 7 8 9", 5).split("\n").length).toBeGreaterThan(2);
  });
});

describe("a command", () => {
  const WORDS = [
    "printf",
    "'%s\\n'",
    "--model-path",
    "/models/x",
    "--kv-cache-dtype",
    "fp8",
    "--layers",
    "1",
    "2",
    "-q",
  ];

  test.each([20, 30, 40, 50, 80, 120])("on %d columns is what a shell reads as the whole", (width) => {
    const lines = wrapCommand(WORDS, width).split("\n");
    const read = execFileSync("sh", ["-c", wrapCommand(WORDS, width)], { encoding: "utf8" })
      .trimEnd()
      .split("\n");
    expect(read).toEqual(WORDS.slice(2));
    for (const line of lines) expect(line).not.toMatch(/ --?[a-z-]+ \\$/);
  });
});
