// How wide the screen is: COLUMNS, then the terminal, then 80; within what a report can be read in.

import { expect, test } from "vitest";
import { widthOf } from "../../src/report/screen.js";

test.each<[string, number | undefined, string | undefined, number]>([
  ["COLUMNS before the terminal", 100, "60", 60],
  ["the terminal", 100, undefined, 100],
  ["80 without either", undefined, undefined, 80],
  ["80 for a terminal that does not know", 0, "", 80],
  ["the terminal where COLUMNS is no number", 90, "wide", 90],
  ["never below 40", 10, undefined, 40],
  ["never above 120, which is hard to read", 300, undefined, 120],
])("%s", (_rule, columns, setting, width) => {
  expect(widthOf({ columns } as { columns: number }, setting ?? "")).toBe(width);
});
