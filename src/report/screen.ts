// A report's screen: its width and its colours. Knows no report.

import pc from "picocolors";
import type { Colors } from "picocolors/types.js";
import type { TextOutput } from "./text-output.js";

export interface Screen {
  readonly colors: Colors;
  /** Columns. */
  readonly width: number;
}

/** The width if it is unknown: it fits logs and mails. */
const USUAL_WIDTH = 80;
/** With less, no table has room for two numbers. */
const LEAST_WIDTH = 40;
/** Longer lines of prose are hard to read. */
const LARGEST_WIDTH = 120;

export function screenOf(output: TextOutput): Screen {
  return { colors: pc.createColors(output.isTTY && pc.isColorSupported), width: widthOf(output.stream) };
}

/** Columns of COLUMNS, as in other programs, then those of the terminal; 80 where neither is known. */
export function widthOf({ columns }: Pick<NodeJS.WriteStream, "columns">, setting = process.env.COLUMNS): number {
  const given = /^\d{1,5}$/.test(setting ?? "") ? Number(setting) : 0;
  const width = given > 0 ? given : columns > 0 ? columns : USUAL_WIDTH;
  return Math.min(Math.max(width, LEAST_WIDTH), LARGEST_WIDTH);
}
