// Reads calibration prompts from .txt, .jsonl or a folder of them. Knows nothing of tokens: a prompt is text or messages.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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
  ".txt": (line, source) => ({ source, text: line }),
  ".jsonl": parseJsonLine,
};

/** Beyond this a data set is not a calibration set, and reading it whole would exhaust memory. */
const MAX_FILE_BYTES = 512 * 2 ** 20;

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
  const files = await listFiles(path);
  const prompts = (await Promise.all(files.map(readFileOfPrompts))).flat();
  if (prompts.length === 0) throw new PromptDataError(`${path}: holds no prompt`);
  return prompts;
}

async function listFiles(path: string): Promise<string[]> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (cause) {
    throw new PromptDataError(`${path}: cannot be opened: ${messageOf(cause)}`, { cause });
  }
  if (!isFolder) {
    if (extensionOf(path) === undefined)
      throw new PromptDataError(`${path}: expected a .txt or .jsonl file, or a folder`);
    return [path];
  }
  const files = (await readdir(path)).filter((name) => extensionOf(name) !== undefined).sort();
  if (files.length === 0) throw new PromptDataError(`${path}: the folder has no .txt or .jsonl file`);
  return files.map((name) => join(path, name));
}

function extensionOf(path: string): string | undefined {
  return Object.keys(READERS).find((extension) => path.endsWith(extension));
}

async function readFileOfPrompts(path: string): Promise<Prompt[]> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw new Error(`${size} bytes are more than the limit of ${MAX_FILE_BYTES}`);
    text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    throw new PromptDataError(`${path}: cannot be read as UTF-8 text: ${messageOf(cause)}`, { cause });
  }
  const read = READERS[extensionOf(path) ?? ".txt"];
  const lines = text.split(/\r?\n/);
  return lines.flatMap((line, index) => (line.trim() === "" || !read ? [] : [read(line, `${path}:${index + 1}`)]));
}

function parseJsonLine(line: string, source: string): Prompt {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (cause) {
    throw new PromptDataError(`${source}: not valid JSON: ${messageOf(cause)}`, { cause });
  }
  if (isObject(row)) {
    const { text, messages, prompt, completion } = row;
    if (typeof text === "string") return { source, text };
    if (isMessages(messages)) return { source, messages };
    if (typeof prompt === "string" && typeof completion === "string") return { source, text: prompt + completion };
    if (isMessages(prompt) && isMessages(completion)) return { source, messages: [...prompt, ...completion] };
  }
  const found = isObject(row) ? `keys ${Object.keys(row).join(", ") || "none"}` : JSON.stringify(row).slice(0, 40);
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
