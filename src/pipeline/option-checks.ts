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

/** @throws UsageError when the list of devices is empty, or names one twice or by something that is no number */
export function requireDevices(devices: readonly number[] | undefined): void {
  if (devices === undefined) return;
  const areNumbers = devices.every((device) => Number.isSafeInteger(device) && device >= 0);
  if (devices.length > 0 && areNumbers && new Set(devices).size === devices.length) return;
  throw new UsageError(`devices: expected different numbers from 0, such as 0,1; found ${devices.join(",") || "none"}`);
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
