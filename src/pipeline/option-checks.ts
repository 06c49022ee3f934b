// Checks of options that several stories share: names of tables, a format's dtypes, one place for the result. The command
// line has checked its own already; callers of the library have not.

import { OUTPUT_FORMATS, type OutputFormat, type OutputFormatName } from "../checkpoint/output-formats.js";
import { UsageError } from "../errors.js";
import type { Float8Name } from "../numerics/float8.js";
import type { ComputeOptions, DataOptions, ModelOptions } from "./run-options.js";

/** @throws UsageError when the value is no key of the table */
export function requireKey(option: string, value: string, table: Readonly<Record<string, unknown>>): void {
  if (Object.hasOwn(table, value)) return;
  throw new UsageError(`${option}: expected one of ${Object.keys(table).join(", ")}, found ${JSON.stringify(value)}`);
}

/** Seeds have 32 bits. */
export const LARGEST_SEED = 2 ** 32 - 1;
/** What `model` is. */
export const A_MODEL = "a checkpoint folder or a hub id (org/name)";

/**
 * @param what is expected, in words
 * @throws UsageError when the value is no text, or an empty one
 */
export function requireText(option: string, value: unknown, what: string): void {
  if (typeof value === "string" && value.trim() !== "") return;
  throw new UsageError(`${option}: expected ${what}, found ${shortValue(value)}`);
}

/** The end of what is expected, where a number may be left to the measurement. */
export const OR_AUTO = ', or "auto"';

/** @param or what else is expected, in words @throws UsageError when the value is not a whole number between the two */
export function requireInteger(
  option: string,
  value: unknown,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
  or = "",
): void {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
  throw new UsageError(`${option}: expected a whole number ${range}${or}, found ${shortValue(value)}`);
}

/** @param or what else is expected, in words @throws UsageError when the value is not a number between the two */
export function requireNumber(option: string, value: unknown, least: number, most = Number.MAX_VALUE, or = ""): void {
  if (typeof value === "number" && value >= least && value <= most) return;
  const range = most === Number.MAX_VALUE ? `from ${least}` : `from ${least} to ${most}`;
  throw new UsageError(`${option}: expected a number ${range}${or}, found ${shortValue(value)}`);
}

/** @throws UsageError when the options are no object: what a caller without types may give */
export function requireOptions(options: unknown): void {
  if (typeof options === "object" && options !== null) return;
  throw new UsageError(`Expected options, such as { model: "org/name" }, found ${shortValue(options)}`);
}

/** What calibration and verification have in common. @throws UsageError */
export function requireComputeOptions(options: CheckedOptions): void {
  const { devices, memory, assumeHarmless, data, revision, dataRevision, dataConfig, dataSplit, dataColumn } = options;
  requireDevices(devices);
  if (memory !== undefined) requireNumber("memory", memory, 1);
  if (data !== undefined) requireText("data", data, "a file, a folder or a data set on the hub");
  for (const [name, value] of Object.entries({ dataRevision, dataConfig, dataSplit, dataColumn })) {
    if (value !== undefined) requireText(name, value, "a name");
  }
  if (revision !== undefined) requireText("revision", revision, "a branch, a tag or a commit");
  if (assumeHarmless === undefined) return;
  const areTexts = Array.isArray(assumeHarmless) && assumeHarmless.every((key) => typeof key === "string");
  if (!areTexts) throw new UsageError(`assumeHarmless: expected a list of keys, found ${shortValue(assumeHarmless)}`);
}

type CheckedOptions = ComputeOptions & DataOptions & Pick<ModelOptions, "revision">;

function shortValue(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = typeof value === "number" || typeof value === "bigint" ? String(value) : JSON.stringify(value);
  return (text ?? typeof value).slice(0, 80);
}

/** @throws UsageError when the list of devices is empty, or names one twice or by something that is no number */
function requireDevices(devices: readonly number[] | undefined): void {
  if (devices === undefined) return;
  if (!Array.isArray(devices))
    throw new UsageError(`devices: expected a list of numbers, found ${shortValue(devices)}`);
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
  if (output !== undefined) requireText("output", output, "a folder to write");
  if (inPlace && output !== undefined) throw new UsageError("Choose one of --in-place and an output folder (-o)");
}
