// Tables that fit any screen: columns are left out or follow below, and no cell is ever broken.

import pc from "picocolors";
import { describe, expect, test } from "vitest";
import type { Screen } from "../../src/report/screen.js";
import { type Column, tableLines } from "../../src/report/table.js";

const screen = (width: number): Screen => ({ colors: pc.createColors(false), width });

const COLUMNS: readonly Column[] = [
  { title: "layer", cells: ["0", "10"] },
  { title: "absmax", cells: ["12.250", "1.0000e-12"] },
  { title: "bar", cells: ["███████", "█"], align: "left", isOptional: true },
  { title: "scale", cells: ["0.027344", "1.0000"] },
  { title: "name", cells: ["a", "b"], align: "left" },
];

describe("a table", () => {
  test("is as wide as its cells, with numbers below the ends of their titles", () => {
    expect(tableLines(COLUMNS, screen(80))).toEqual([
      "layer      absmax  bar         scale  name",
      "    0      12.250  ███████  0.027344  a",
      "   10  1.0000e-12  █          1.0000  b",
    ]);
  });

  test("leaves out what may be left out where there is no room", () => {
    expect(tableLines(COLUMNS, screen(40))).toEqual([
      "layer      absmax     scale  name",
      "    0      12.250  0.027344  a",
      "   10  1.0000e-12    1.0000  b",
    ]);
  });

  test("goes on below where there is still none, each part with the first column", () => {
    expect(tableLines(COLUMNS, screen(24))).toEqual([
      "layer      absmax",
      "    0      12.250",
      "   10  1.0000e-12",
      "",
      "layer     scale  name",
      "    0  0.027344  a",
      "   10    1.0000  b",
    ]);
  });

  test("keeps every cell whole on a screen that has room for none", () => {
    const lines = tableLines(COLUMNS, screen(1));
    for (const { cells, isOptional } of COLUMNS.slice(1)) {
      if (!isOptional) for (const cell of cells) expect(lines.some((line) => line.includes(String(cell)))).toBe(true);
    }
  });

  test("colours cells and rows without moving anything", () => {
    const mark = (text: string) => `<${text}>`;
    const cells = [{ text: "1", paint: mark }, "22"];
    const lines = tableLines([{ title: "n", cells }], screen(80), (row) => (row === 1 ? mark : undefined));
    expect(lines).toEqual([" n", "< 1>", "<22>"]);
  });
});
