// What a report knows of the screen that it is for: how wide it is, and how colours are made there. Knows no report.

import pc from "picocolors";
import type { Colors } from "picocolors/types.js";
import type { TextOutput } from "./text-output.js";

export interface Screen {
  readonly colors: Colors;
  /** Columns. */
  readonly width: number;
}

/** Where nobody says how wide the screen is: what logs and mails have room for. */
const USUAL_WIDTH = 80;
/** Below, no table has room for two numbers. */
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
