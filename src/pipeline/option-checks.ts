// Checks of options that several stories share: names of tables, a format's dtypes, one place for the result. The command
// line has checked its own already; callers of the library have not.

import { OUTPUT_FORMATS, type OutputFormat, type OutputFormatName } from "../checkpoint/output-formats.js";
import { UsageError } from "../errors.js";
import type { Float8Name } from "../numerics/float8.js";

/** @throws UsageError when the value is no key of the table */
export function requireKey(option: string, value: string, table: Readonly<Record<string, unknown>>): void {
  if (Object.hasOwn(table, value)) return;
  throw new UsageError(`${option}: expected one of ${Object.keys(table).join(", ")}, found ${JSON.stringify(value)}`);
}

/** @throws UsageError when the format has no such dtype, with the format's reason */
export function requireDtypeOfFormat(name: OutputFormatName, dtype: Float8Name): void {
  const { dtypes, dtypeRule }: OutputFormat = OUTPUT_FORMATS[name];
  if (dtypes.includes(dtype)) return;
  throw new UsageError(`Format ${name} has no ${dtype}: ${dtypeRule}. Use ${dtypes.join(" or ")}.`);
}

/** @throws UsageError when the result would go to two places */
export function requireOnePlace({
  inPlace,
  output,
}: {
  inPlace?: boolean | undefined;
  output?: string | undefined;
}): void {
  if (inPlace && output !== undefined) throw new UsageError("Choose one of --in-place and an output folder (-o)");
}
