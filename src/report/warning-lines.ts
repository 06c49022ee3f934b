// Warnings beside a result that is a single line: on stderr, so that --quiet hides none. Pure: text out.

import { showLine } from "./shown-text.js";

/** A line for each, for logs. */
export function warningLines(warnings: readonly string[]): string {
  return warnings.map((warning) => `Warning: ${showLine(warning)}\n`).join("");
}
