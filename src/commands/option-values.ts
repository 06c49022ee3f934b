// Parsers of option values for commander: each gives a typed value or a usage error that names what was expected.

import { InvalidArgumentError } from "commander";
import { EXCEEDANCES } from "../pipeline/run-options.js";

/** A path or a name. An empty text is an unset shell variable, not the current folder. */
export function parseText(text: string): string {
  if (text.trim() === "") throw new InvalidArgumentError("Expected a text, found nothing.");
  return text;
}

export function parsePositiveInteger(text: string): number {
  return parseInteger(text, 1);
}

/** Tokens of a window: a single one predicts nothing. */
export function parseWindow(text: string): number {
  return parseInteger(text, 2);
}

function parseInteger(text: string, least: number, or = ""): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
    throw new InvalidArgumentError(`Expected a whole number from ${least}${or}.`);
  }
  return value;
}

/** A seed: any integer of 32 bits. */
export function parseSeed(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value >= 2 ** 32)
    throw new InvalidArgumentError("Expected an integer from 0 to 4294967295.");
  return value;
}

export function parseHeadroom(text: string): number | "auto" {
  if (text === "auto") return text;
  const value = parseDecimal(text);
  if (!(value >= 1 && value <= 16)) {
    throw new InvalidArgumentError("Expected a number from 1 to 16, such as 1.1, or auto.");
  }
  return value;
}

/** A number of prompts. */
export function parseSamples(text: string): number | "auto" {
  return text === "auto" ? text : parseInteger(text, 1, ", or auto");
}

/** A probability of being exceeded: "5%" or "0.05". */
export function parseExceedance(text: string): number {
  const value = parsePercent(text);
  if (!(value >= EXCEEDANCES.least && value <= EXCEEDANCES.most)) {
    throw new InvalidArgumentError("Expected a probability from 0.1% to 50%, such as 5% or 0.05.");
  }
  return value;
}

/** The largest allowed ratio of two numbers. */
export function parseRatio(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 1 && Number.isFinite(value))) {
    throw new InvalidArgumentError("Expected a number of 1 or more, such as 1.05.");
  }
  return value;
}

const BYTES_OF_UNIT: Record<string, number> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** "4GiB", "4G", "512 MiB" or a number of bytes. */
export function parseBytes(text: string): number {
  const [, number, unit = ""] = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*$/i.exec(text) ?? [];
  const bytes = Math.round(Number(number) * (BYTES_OF_UNIT[unit.toLowerCase()] ?? Number.NaN));
  if (!Number.isSafeInteger(bytes) || bytes === 0) {
    throw new InvalidArgumentError("Expected a size such as 4GiB or 512MiB.");
  }
  return bytes;
}

/** A share of a whole: "90%" or "0.9". */
export function parseShare(text: string): number {
  const value = parsePercent(text);
  if (!(value <= 1)) throw new InvalidArgumentError("Expected a share from 0% to 100%, such as 90% or 0.9.");
  return value;
}

/** An allowed increase: "1%" or "0.01". Values above 1 need a percent sign, because many mean 5% with "5". */
export function parseIncrease(text: string): number {
  const value = parsePercent(text);
  if (!(value <= 1 || (text.includes("%") && Number.isFinite(value)))) {
    throw new InvalidArgumentError("Expected an increase from 0%, such as 1% or 0.01.");
  }
  return value;
}

/** NaN if it is no share. */
function parsePercent(text: string): number {
  const [, number = "", percent] = /^\s*([^\s%]+)\s*(%?)\s*$/.exec(text) ?? [];
  return parseDecimal(number) / (percent === "%" ? 100 : 1);
}

export function parseNats(text: string): number {
  const value = parseDecimal(text);
  if (!Number.isFinite(value)) throw new InvalidArgumentError("Expected a number of nats from 0, such as 0.02.");
  return value;
}

/** A number without a sign, as people write it: "0.02", "1e-3". NaN for anything else, such as "0x10" or "Infinity". */
function parseDecimal(text: string): number {
  return /^\s*(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i.test(text) ? Number(text) : Number.NaN;
}

/** The number of a GPU: "0". */
function parseDevice(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError("Expected the number of a GPU, such as 0.");
  return Number(text);
}

/** Numbers of GPUs: "0,1". */
export function parseDevices(text: string): number[] {
  return text.split(",").map((number) => parseDevice(number.trim()));
}
