// The tokens that end a text, by the checkpoint's configuration. Knows no tokenizer.

import { join } from "node:path";
import { CheckpointError } from "../errors.js";
import { parsePythonJsonObject, showJson } from "./json-text.js";
import type { Checkpoint } from "./open-checkpoint.js";
import { readOptionalTextFile } from "./text-files.js";

const GENERATION_CONFIG = "generation_config.json";

/**
 * `eos_token_id` of generation_config.json, else of config.json, as transformers reads it: one id or a list. Empty when
 * neither has one.
 * @throws CheckpointError for any other value
 */
export async function readEndTokens({ folder, config }: Checkpoint): Promise<readonly number[]> {
  const path = join(folder, GENERATION_CONFIG);
  const text = await readOptionalTextFile(path);
  const generation = text === undefined ? {} : parsePythonJsonObject(path, text);
  return idsOf(generation.eos_token_id, path) ?? idsOf(config.eos_token_id, join(folder, "config.json")) ?? [];
}

function idsOf(value: unknown, path: string): readonly number[] | undefined {
  if (value === undefined || value === null) return undefined;
  const ids = Array.isArray(value) ? value : [value];
  if (ids.every((id) => Number.isSafeInteger(id) && id >= 0)) return ids;
  throw new CheckpointError(`${path}: eos_token_id: expected a token id or a list of them, found ${showJson(value)}`);
}
