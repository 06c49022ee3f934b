// The Markdown of a verification: tables that stay tables, whatever names and generated texts hold.

import { describe, expect, test } from "vitest";
import { verifyMarkdown } from "../../src/report/verify-markdown.js";
import { HOSTILE, resultOf, VARIANTS } from "./verify-fixture.js";

/** Cells of a table's row; an escaped bar separates nothing. */
function cellsOf(row: string): string[] {
  return row.split(/(?<!\\)\|/).slice(1, -1);
}

/** Runs of lines that begin with a bar. */
function tablesOf(markdown: string): string[][] {
  return markdown
    .split("\n\n")
    .filter((part) => part.startsWith("|"))
    .map((part) => part.split("\n"));
}

describe.each(Object.entries(VARIANTS))("a result %s", (_name, result) => {
  const markdown = verifyMarkdown(result, 1.5);

  test("has as many cells in every row of a table as in its title", () => {
    const tables = tablesOf(markdown);
    expect(tables.length).toBeGreaterThan(1);
    for (const [title = "", ...rows] of tables)
      for (const row of rows) expect(cellsOf(row), row).toHaveLength(cellsOf(title).length);
  });

  test("has no HTML but what folds parts away, and closes it", () => {
    const outsideCode = markdown.replaceAll(/(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)/g, "");
    const tags = [...outsideCode.matchAll(/<\/?[a-z!]*/gi)].map(([tag]) => tag);
    expect([...new Set(tags)].toSorted()).toEqual(["</details", "</summary", "<details", "<summary"]);
    expect(tags.filter((tag) => tag === "<details")).toHaveLength(tags.filter((tag) => tag === "</details").length);
  });

  test("says in its heading whether it passed, and has every reason as an item", () => {
    const { name, passed } = result.verdict;
    const words = passed ? "✅ FP8 KV cache: passed" : "❌ FP8 KV cache: failed";
    expect(markdown.split("\n")[0]).toBe(`## ${name === "inconclusive" ? "❔ FP8 KV cache: not decided" : words}`);
    expect(markdown.match(/^- /gm)).toHaveLength(result.verdict.reasons.length);
  });

  test("ends with one line break", () => {
    expect(markdown).toMatch(/[^\n]\n$/);
  });
});

test("arms come with what they are, the noise floor and the limits", () => {
  const [arms = []] = tablesOf(verifyMarkdown(resultOf(), 1));
  expect(arms.slice(2).map((row) => row.split(" ")[1])).toEqual([
    "exact",
    "16-bit",
    "fp8",
    "fp8-at-1",
    "e5m2",
    "noise",
    "limit",
  ]);
  expect(arms[4]).toBe(
    "| fp8 (float8\\_e4m3fn, kv\\_scale) | 12.361 ± 0.12 | 1.0013 (1.0009–1.0017) | 0.00312 | 0.0374 | 98.12 % |",
  );
});

test("the folder stands in more backticks than it holds", () => {
  expect(verifyMarkdown(resultOf({ checkpoint: "/a`b``c" }), 1)).toContain("\n``` /a`b``c ``` · ");
});

test("positions are counted from 0, both ends included", () => {
  expect(verifyMarkdown(resultOf(), 1)).toContain("| 64–127 | 1.00e-5 | 0.00300 | 0.500 |");
});

test("generated texts are cut, with where they part", () => {
  const markdown = verifyMarkdown(resultOf(), 1);
  expect(markdown).toContain("| The capital of France | is Paris. | is Paris. | all 64 tokens are equal |");
  expect(markdown).toMatch(/… \| the texts differ from token 1 on \(64 tokens\) \|$/m);
  expect(markdown).toContain("Stored as uint16 and uint8 codes.");
});

test("every character of Markdown is escaped in a warning", () => {
  const line = verifyMarkdown(resultOf({ warnings: [HOSTILE] }), 1).match(/^> ⚠️ (.*)$/m)?.[1] ?? "";
  expect(line).toContain("a&lt;b&gt;&amp;amp;");
  expect(line.replaceAll(/\\./g, "")).not.toMatch(/[`*_|[\]~]/);
});
