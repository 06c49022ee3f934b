// Reads calibration prompts from .txt, .jsonl or a folder of them. Knows nothing of tokens: a prompt is text or messages.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isObject, parsePythonJson, showJson } from "../checkpoint/json-text.js";
import { describeFile, readPlainText, requirePlainFile } from "../checkpoint/plain-file.js";
import { messageOf, PromptDataError } from "../errors.js";

export interface Message {
  readonly role: string;
  readonly content: string;
}

/** Text is used as it is; messages go through the checkpoint's chat template. */
export type Prompt = { readonly source: string } & (
  | { readonly text: string }
  | { readonly messages: readonly Message[] }
);

/** Each line of a .txt file is a prompt. A .jsonl line is `text`, `messages`, or `prompt` and `completion`. */
const READERS: Record<string, (line: string, source: string) => Prompt> = {
  ".txt": readTextLine,
  ".jsonl": parseJsonLine,
};

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

/** So many keys of a row are shown in a message. */
const SHOWN_KEYS = 10;

const FEWER = "Take a part of it: a run uses --samples prompts.";

/** Where the prompts that ship with the package are. */
export const SHIPPED_PROMPTS = fileURLToPath(new URL("../../calibration-data/calibration", import.meta.url));

/** Text that the shipped prompts do not contain, for verification. */
export const HELD_OUT_PROMPTS = fileURLToPath(new URL("../../calibration-data/held-out", import.meta.url));

/** Short conversations that end with the user's turn, for what a model would answer. */
export const GENERATION_PROMPTS = fileURLToPath(new URL("../../calibration-data/generation", import.meta.url));

/**
 * Reads every prompt of a file, or of the .txt and .jsonl files of a folder in the order of their names.
 * @throws PromptDataError naming file and line
 */
export async function readPrompts(path: string): Promise<Prompt[]> {
  const prompts: Prompt[] = [];
  let [bytes, lines] = [0, 0];
  for (const file of await listFiles(path)) {
    const text = await readText(path, file, MAX_BYTES - bytes);
    bytes += Buffer.byteLength(text);
    for (const [index, line] of linesOf(text)) {
      if (++lines > MAX_LINES) {
        throw new PromptDataError(`${path}: expected at most ${MAX_LINES} lines, found more. ${FEWER}`);
      }
      if (line.trim() !== "") prompts.push(readLine(file, line, index + 1));
    }
  }
  if (prompts.length === 0) throw new PromptDataError(`${path}: holds no prompt`);
  return prompts;
}

async function listFiles(path: string): Promise<string[]> {
  if (path === "-") {
    throw new PromptDataError(`${path}: prompts are not read from stdin. Save them as a .txt or .jsonl file.`);
  }
  const { stats, names } = await lookAt(path);
  if (names === undefined) {
    if (stats.isFile() && extensionOf(path) === undefined) {
      throw new PromptDataError(`${path}: expected a .txt or .jsonl file, or a folder`);
    }
    if (stats.isFile()) return [path];
    // A shell's <(command) is one, too. What it holds could not be read twice, nor said to be the same the next time.
    throw new PromptDataError(
      `${path}: expected a .txt or .jsonl file, or a folder, found ${await describeFile(path, stats)}. Save the prompts as a file.`,
    );
  }
  const files = names.filter((name) => extensionOf(name) !== undefined).sort();
  if (files.length === 0) throw new PromptDataError(`${path}: the folder has no .txt or .jsonl file`);
  if (files.length > MAX_FILES) {
    throw new PromptDataError(
      `${path}: expected at most ${MAX_FILES} .txt and .jsonl files, found ${files.length}. Join them: a line is a prompt.`,
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

async function readText(data: string, file: string, bytesLeft: number): Promise<string> {
  const stats = await requirePlainFile(file, PromptDataError);
  if (stats.size > bytesLeft) {
    throw new PromptDataError(
      `${data}: expected at most ${MAX_BYTES} bytes of prompts, found more (${file} has ${stats.size}). ${FEWER}`,
    );
  }
  return readPlainText(file, bytesLeft, PromptDataError);
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

function readLine(file: string, line: string, number: number): Prompt {
  const source = `${file}:${number}`;
  if (line.length > MAX_LINE_CHARACTERS) {
    throw new PromptDataError(
      `${source}: expected lines of at most ${MAX_LINE_CHARACTERS} characters, found ${line.length}. Split the text into several prompts.`,
    );
  }
  const read = READERS[extensionOf(file) ?? ".txt"] ?? readTextLine;
  return read(line, source);
}

function readTextLine(line: string, source: string): Prompt {
  return { source, text: line };
}

function parseJsonLine(line: string, source: string): Prompt {
  const row = parsePythonJson(source, line, PromptDataError);
  if (isObject(row)) {
    const { text, messages, prompt, completion } = row;
    if (typeof text === "string") return { source, text };
    if (isMessages(messages)) return { source, messages };
    if (typeof prompt === "string" && typeof completion === "string") return { source, text: prompt + completion };
    if (isMessages(prompt) && isMessages(completion)) return { source, messages: [...prompt, ...completion] };
  }
  const found = isObject(row) ? `keys ${Object.keys(row).slice(0, SHOWN_KEYS).join(", ") || "none"}` : showJson(row);
  throw new PromptDataError(
    `${source}: expected an object with "text", with "messages" (role and content), or with "prompt" and "completion"; found ${found}`,
  );
}

function isMessages(value: unknown): value is Message[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((entry) => isObject(entry) && typeof entry.role === "string" && typeof entry.content === "string")
  );
}
