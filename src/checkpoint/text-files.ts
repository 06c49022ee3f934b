// Reads the text files of a checkpoint, each within the limit of its kind. Knows nothing of their content.

import { lstat } from "node:fs/promises";
import { basename } from "node:path";
import { CheckpointError, codeOf, messageOf } from "../errors.js";
import { readPlainText } from "./plain-file.js";

/** The largest known is a tokenizer_config.json with 2 MB of added tokens. */
const MAX_BYTES = 10_000_000;

/** Files that are edited, or grow with the vocabulary or the number of tensors. Larger ones would take too long. */
const MAX_BYTES_OF: Readonly<Record<string, number>> = {
  // Largest known: 0.5 MB; it names every layer that is not quantized.
  "config.json": 4_000_000,
  // Largest known: 35 MB, with 262,000 tokens and 514,000 merges.
  "tokenizer.json": 64_000_000,
  // 1,000 layers of experts have 20 MB; the largest known has 60 MB.
  "model.safetensors.index.json": 80_000_000,
};

/**
 * Reads a text file of the checkpoint.
 * @throws CheckpointError when it is absent, no plain file, too large or not UTF-8
 */
export async function readTextFile(path: string): Promise<string> {
  if (!(await isThere(path))) throw new CheckpointError(`${path}: not found. A checkpoint needs this file.`);
  return readPlainText(path, MAX_BYTES_OF[basename(path)] ?? MAX_BYTES);
}

/** The same; undefined when it is absent. A broken link is not absent. */
export async function readOptionalTextFile(path: string): Promise<string | undefined> {
  return (await isThere(path)) ? readTextFile(path) : undefined;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes(codeOf(cause) ?? "")) return false;
    throw new CheckpointError(`${path}: cannot be read: ${messageOf(cause)}`, { cause });
  }
}
