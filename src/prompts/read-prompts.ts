// Reads calibration prompts from .txt, .jsonl, .json and .parquet files or a folder of them. Knows how much may be read, and
// nothing of tokens: a prompt is text or messages.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parsePythonJson } from "../checkpoint/json-text.js";
import { describeFile, readPlainText, requirePlainFile } from "../checkpoint/plain-file.js";
import { messageOf, PromptDataError } from "../errors.js";
import { PROMPT_COLUMNS, type Prompt, promptOfRow } from "./prompt-rows.js";

/** What a file's rows are, by how its name ends. */
const READERS: Readonly<Record<string, (file: string, reading: Reading) => Promise<void>>> = {
  ".txt": readTextFile,
  ".jsonl": readJsonLines,
  ".json": readJsonFile,
  ".parquet": readParquetFile,
};

const KINDS = listed(Object.keys(READERS));

/** JSON beside the data that tools write, and that holds no prompts. */
const NO_PROMPTS = ["dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"];

/**
 * Of all files together: 30 million tokens, of which a run takes half a million by default. Reading them takes a second or
 * two and some 500 MB; a larger data set is there to choose from.
 */
const MAX_BYTES = 128 * 2 ** 20;

/** Of all files together, blank ones too. Each takes 150 bytes beside its text. */
const MAX_LINES = 2_000_000;

/** A folder of prompts has a few; whoever has one per prompt has thousands. */
const MAX_FILES = 10_000;

/** A million tokens or more: longer than any context. Tokenizing it takes half a minute. */
const MAX_LINE_CHARACTERS = 4 * 2 ** 20;

/** Of a text file that is read in part, for it is read whole before. */
const MAX_TEXT_FILE_BYTES = 2 ** 29 - 2 ** 24;

const FEWER = "Take a part of it: a run uses --samples prompts.";

/** Where the prompts that ship with the package are. */
export const SHIPPED_PROMPTS = fileURLToPath(new URL("../../calibration-data/calibration", import.meta.url));

/** Text that the shipped prompts do not contain, for verification. */
export const HELD_OUT_PROMPTS = fileURLToPath(new URL("../../calibration-data/held-out", import.meta.url));

/** Short conversations that end with the user's turn, for what a model would answer. */
export const GENERATION_PROMPTS = fileURLToPath(new URL("../../calibration-data/generation", import.meta.url));

export interface ReadOptions {
  /** The column that holds text or messages, where rows have columns; by default, the first that is known. */
  readonly column?: string | undefined;
}

/** What has been read so far, and what limits it. */
interface Reading extends ReadOptions {
  /** What was asked for, for messages. */
  readonly data: string;
  readonly prompts: Prompt[];
  bytes: number;
  rows: number;
  /** Whether reading ends at a limit, instead of refusing what has more. */
  readonly endsAtLimits: boolean;
  isFull: boolean;
}

/**
 * Reads every prompt of a file, or of the .txt, .jsonl, .json and .parquet files of a folder in the order of their names.
 * @throws PromptDataError naming file and line
 */
export async function readPrompts(path: string, { column }: ReadOptions = {}): Promise<Prompt[]> {
  const files = await listFiles(path);
  const reading: Reading = { data: path, column, prompts: [], bytes: 0, rows: 0, endsAtLimits: false, isFull: false };
  for (const file of files) await readFile(file, reading);
  return requireSome(reading);
}

/**
 * Reads prompts of given files until a limit is met: a data set of others is as large as it is.
 * @param data what was asked for, for messages
 * @returns the prompts, and whether they are all
 * @throws PromptDataError naming file and line
 */
export async function readFirstPrompts(
  data: string,
  files: readonly string[],
  { column }: ReadOptions = {},
): Promise<{ readonly prompts: Prompt[]; readonly isWhole: boolean }> {
  const reading: Reading = { data, column, prompts: [], bytes: 0, rows: 0, endsAtLimits: true, isFull: false };
  for (const file of files) {
    if (!reading.isFull) await readFile(file, reading);
  }
  return { prompts: requireSome(reading), isWhole: !reading.isFull };
}

function requireSome({ data, prompts }: Reading): Prompt[] {
  if (prompts.length === 0) throw new PromptDataError(`${data}: holds no prompt`);
  return prompts;
}

function readFile(file: string, reading: Reading): Promise<void> {
  const read = READERS[extensionOf(file) ?? ".txt"] ?? readTextFile;
  return read(file, reading);
}

async function listFiles(path: string): Promise<string[]> {
  if (path === "-") {
    throw new PromptDataError(`${path}: prompts are not read from stdin. Save them as a .txt or .jsonl file.`);
  }
  const { stats, names } = await lookAt(path);
  if (names === undefined) {
    if (stats.isFile() && extensionOf(path) === undefined) {
      throw new PromptDataError(`${path}: expected a ${KINDS} file, or a folder`);
    }
    if (stats.isFile()) return [path];
    // A shell's <(command) is one, too. What it holds could not be read twice, nor said to be the same the next time.
    throw new PromptDataError(
      `${path}: expected a ${KINDS} file, or a folder, found ${await describeFile(path, stats)}. Save the prompts as a file.`,
    );
  }
  const files = names.filter((name) => extensionOf(name) !== undefined && !NO_PROMPTS.includes(name)).sort();
  if (files.length === 0) throw new PromptDataError(`${path}: the folder has no ${KINDS} file`);
  if (files.length > MAX_FILES) {
    throw new PromptDataError(
      `${path}: expected at most ${MAX_FILES} files of prompts, found ${files.length}. Join them: a line is a prompt.`,
    );
  }
  return files.map((name) => join(path, name));
}

/** @returns the names in it, if it is a folder */
async function lookAt(path: string) {
  try {
    const stats = await stat(path);
    return { stats, names: stats.isDirectory() ? await readdir(path) : undefined };
  } catch (cause) {
    throw new PromptDataError(`${path}: cannot be opened: ${messageOf(cause)}`, { cause });
  }
}

function extensionOf(path: string): string | undefined {
  return Object.keys(READERS).find((extension) => path.endsWith(extension));
}

/** The text of a whole file, and the bytes that it takes of the limit. */
async function readText(file: string, reading: Reading): Promise<string> {
  const stats = await requirePlainFile(file, PromptDataError);
  const bytesLeft = MAX_BYTES - reading.bytes;
  if (stats.size > bytesLeft && !reading.endsAtLimits) throw tooManyBytes(reading, `${file} has ${stats.size}`);
  const text = await readPlainText(file, reading.endsAtLimits ? MAX_TEXT_FILE_BYTES : bytesLeft, PromptDataError);
  // Of a file that may be read in part, lines are counted as they are taken.
  if (!reading.endsAtLimits) reading.bytes += Buffer.byteLength(text);
  return text;
}

function tooManyBytes({ data }: Reading, found: string): PromptDataError {
  return new PromptDataError(
    `${data}: expected at most ${MAX_BYTES} bytes of prompts, found more (${found}). ${FEWER}`,
  );
}

/** Counts a row. @returns whether it may be taken; otherwise nothing more is */
function takeRow(reading: Reading, bytes = 0): boolean {
  reading.rows++;
  reading.bytes += bytes;
  if (reading.rows <= MAX_LINES && reading.bytes <= MAX_BYTES) return true;
  if (!reading.endsAtLimits) {
    if (reading.bytes > MAX_BYTES) throw tooManyBytes(reading, `row ${reading.rows}`);
    throw new PromptDataError(`${reading.data}: expected at most ${MAX_LINES} lines, found more. ${FEWER}`);
  }
  reading.isFull = true;
  return false;
}

async function readTextFile(file: string, reading: Reading): Promise<void> {
  const text = await readText(file, reading);
  readLines(file, text, reading, (line, source) => ({ source, text: line }));
}

async function readJsonLines(file: string, reading: Reading): Promise<void> {
  const text = await readText(file, reading);
  readLines(file, text, reading, (line, source) =>
    promptOfRow(parsePythonJson(source, line, PromptDataError), source, reading.column),
  );
}

/** A list of rows; or rows line by line, which many call .json, too. */
async function readJsonFile(file: string, reading: Reading): Promise<void> {
  const text = await readText(file, reading);
  if (!/^\s*\[/.test(text)) {
    return readLines(file, text, reading, (line, source) =>
      promptOfRow(parsePythonJson(source, line, PromptDataError), source, reading.column),
    );
  }
  const rows = parsePythonJson(file, text, PromptDataError);
  for (const [index, row] of (Array.isArray(rows) ? rows : []).entries()) {
    if (!takeRow(reading)) return;
    takePrompt(reading, rowOf(row, `${file}:row ${index + 1}`, reading));
  }
}

async function readParquetFile(file: string, reading: Reading): Promise<void> {
  const { column } = reading;
  // Loaded here alone: other files need none of it.
  const { readParquetRows } = await import("./parquet-rows.js");
  let number = 0;
  await readParquetRows(file, column === undefined ? PROMPT_COLUMNS : [column, "tools", "system"], (row) => {
    number++;
    if (!takeRow(reading, sizeOf(row))) return false;
    const isBlank = Object.values(row).every((value) => value === null);
    if (!isBlank) takePrompt(reading, rowOf(row, `${file}:row ${number}`, reading));
    return true;
  });
}

/** A row may be a text alone. */
function rowOf(row: unknown, source: string, { column }: Reading): Prompt {
  return typeof row === "string" ? { source, text: row } : promptOfRow(row, source, column);
}

/** Characters of the texts in it, about. */
function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce((sum: number, entry) => sum + sizeOf(entry), 1);
}

function takePrompt(reading: Reading, prompt: Prompt): void {
  const length = sizeOf("text" in prompt ? prompt.text : prompt.messages);
  requireLength(prompt.source, length);
  reading.prompts.push(prompt);
}

function readLines(file: string, text: string, reading: Reading, read: (line: string, source: string) => Prompt): void {
  for (const [index, line] of linesOf(text)) {
    if (!takeRow(reading, reading.endsAtLimits ? line.length : 0)) return;
    if (line.trim() === "") continue;
    const source = `${file}:${index + 1}`;
    requireLength(source, line.length);
    reading.prompts.push(read(line, source));
  }
}

function requireLength(source: string, length: number): void {
  if (length <= MAX_LINE_CHARACTERS) return;
  throw new PromptDataError(
    `${source}: expected lines of at most ${MAX_LINE_CHARACTERS} characters, found ${length}. Split the text into several prompts.`,
  );
}

/** One by one: all lines of a file at once would take more memory than the file. */
function* linesOf(text: string): Generator<[index: number, line: string]> {
  for (let start = 0, index = 0; start <= text.length; index++) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    yield [index, text.slice(start, text[end - 1] === "\r" && end > start ? end - 1 : end)];
    start = end + 1;
  }
}

function listed(names: readonly string[]): string {
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}
