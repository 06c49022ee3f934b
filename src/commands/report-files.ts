// Files that a command writes beside its result, such as --html: checked before any work is done, written whole or not
// at all, and never over an input. Knows no report's content.

import { randomUUID } from "node:crypto";
import type { Stats } from "node:fs";
import { access, constants, lstat, open, readdir, realpath, rm, stat } from "node:fs/promises";
import { basename, dirname, extname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { writeFileAtomically } from "../checkpoint/place-file.js";
import { type KvScalesError, messageOf, OutputWriteError, UsageError } from "../errors.js";

/** The requested place of a report. */
export interface ReportRequest<Result> {
  /** The option, such as "--html", or a variable's name. */
  readonly option: string;
  readonly path: string;
  /** Whether the report is appended to the file; else it replaces the file. */
  readonly appends?: boolean;
  readonly textOf: (result: Result) => string;
}

export interface ReportFile<Result> extends ReportRequest<Result> {
  /** The absolute path, links resolved. */
  readonly target: string;
  /** The existing file. */
  readonly found: Stats | undefined;
}

/**
 * Checks that each report can be written: its folder exists and is writable, its name is free or a plain file's, and no
 * other report has it.
 * @throws UsageError for an impossible name, OutputWriteError for a place that is not writable
 */
export async function planReportFiles<Result>(
  requests: readonly ReportRequest<Result>[],
): Promise<ReportFile<Result>[]> {
  const files: ReportFile<Result>[] = [];
  for (const request of requests) {
    const file = await planReportFile(request);
    const twin = files.find((other) => isSameFile(other, file));
    if (twin !== undefined) {
      throw new UsageError(`${twin.option} and ${file.option} both name ${file.path}: give each a file of its own`);
    }
    files.push(file);
  }
  return files;
}

async function planReportFile<Result>(request: ReportRequest<Result>): Promise<ReportFile<Result>> {
  const { option, path } = request;
  const refuse = (what: string) => new UsageError(`${option}: ${path} ${what}. Name another file.`);
  if (path.endsWith("/") || path.endsWith(sep)) throw refuse("names a folder");
  const whole = resolve(path);
  try {
    const entry = await lstat(whole).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    const target = entry === undefined ? join(await realpath(dirname(whole)), basename(whole)) : await realpath(whole);
    const found = entry === undefined ? undefined : await stat(target);
    if (found?.isDirectory()) throw refuse("is a folder");
    if (found !== undefined && !found.isFile()) throw refuse("is a device, a pipe or a socket, not a plain file");
    if (found !== undefined) await access(target, constants.W_OK);
    if (found === undefined || !request.appends) await tryToWriteIn(dirname(target));
    return { ...request, target, found };
  } catch (error) {
    throw error instanceof UsageError ? error : asWriteError(request, error);
  }
}

/** Permissions are not enough: a file system can be read-only, full, or without files. */
async function tryToWriteIn(folder: string): Promise<void> {
  const probe = join(folder, `.create-kv-scales-${randomUUID()}`);
  await (await open(probe, "wx")).close();
  await rm(probe);
}

/**
 * Checks that no report replaces an input file, or would be read as one later.
 * @param inputs files, and folders of them
 * @throws UsageError
 */
export async function refuseInputs(files: readonly ReportFile<never>[], inputs: readonly string[]): Promise<void> {
  for (const input of inputs) {
    const found = await stat(input).catch(() => undefined);
    // Reading it later gives the error.
    if (found === undefined || files.length === 0) continue;
    const folder = await realpath(input);
    const entries = found.isDirectory() ? await entriesOf(folder) : [found];
    for (const file of files) {
      const isInside = found.isDirectory() && isBelow(folder, file.target);
      const isInput = file.found !== undefined && entries.some((entry) => isSameEntry(entry, file.found));
      if ((isInput || isInside) && !(await isReport(file))) {
        throw new UsageError(
          isInput || file.found !== undefined
            ? `${file.option}: ${file.path} is a file of ${input}, which is an input. Name another file.`
            : `${file.option}: ${file.path} would be among the files of ${input}, which are inputs. Name a file elsewhere, or one that ends in ${[...REPORT_ENDINGS].join(", ")}.`,
        );
      }
    }
  }
}

/** The files at the top level of a folder, links followed. */
async function entriesOf(folder: string): Promise<Stats[]> {
  const names = await readdir(folder).catch(() => []);
  const entries = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return entries.filter((entry) => entry !== undefined);
}

/** Endings that neither engines nor readers of prompts use. */
const REPORT_ENDINGS: ReadonlySet<string> = new Set([".html", ".htm", ".md", ".xml"]);
/** Beginnings of this program's reports. */
const REPORT_BEGINNING =
  /<meta name="generator" content="create-kv-scales |^## \S+ FP8 KV cache: |<testsuites name="create-kv-scales /;
const BEGINNING_BYTES = 4096;

/** Whether the file is an earlier report, or has a name that only a report has. */
async function isReport({ target, found }: ReportFile<never>): Promise<boolean> {
  if (found === undefined) return REPORT_ENDINGS.has(extname(target).toLowerCase());
  const file = await open(target, "r").catch(() => undefined);
  if (file === undefined) return false;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(BEGINNING_BYTES), 0, BEGINNING_BYTES, 0);
    return REPORT_BEGINNING.test(buffer.toString("utf8", 0, bytesRead));
  } finally {
    await file.close();
  }
}

/**
 * Writes the reports one after the other, each whole or not at all. If one fails, the others are still written.
 * @returns an OutputWriteError for each failure
 */
export async function writeReportFiles<Result>(
  files: readonly ReportFile<Result>[],
  result: Result,
): Promise<KvScalesError[]> {
  const failures: KvScalesError[] = [];
  for (const file of files) {
    try {
      const text = file.textOf(result);
      await (file.appends ? appendWhole(file.target, text) : writeFileAtomically(file.target, text));
    } catch (error) {
      failures.push(asWriteError(file, error));
    }
  }
  return failures;
}

/** Others also append to the file, so it cannot be replaced: a partial write is truncated. */
async function appendWhole(path: string, text: string): Promise<void> {
  const file = await open(path, "a");
  try {
    const { size } = await file.stat();
    try {
      await file.writeFile(text);
    } catch (error) {
      await file.truncate(size);
      throw error;
    }
  } finally {
    await file.close();
  }
}

function asWriteError({ option, path }: ReportRequest<never>, cause: unknown): OutputWriteError {
  const message = `${option} ${path}: the report cannot be written: ${messageOf(cause)}. The old file is unchanged: make room, or name another file.`;
  return new OutputWriteError(message, { cause });
}

function isSameFile(a: ReportFile<never>, b: ReportFile<never>): boolean {
  return a.target === b.target || (a.found !== undefined && isSameEntry(a.found, b.found));
}

function isSameEntry(a: Stats, b: Stats | undefined): boolean {
  return a.dev === b?.dev && a.ino === b.ino;
}

function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== "" && !way.startsWith("..") && !isAbsolute(way);
}
