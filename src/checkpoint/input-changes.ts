// Ends a run when somebody changed the checkpoint while it was used: the scales would be those of other weights, or an
// edit of config.json would be lost. Knows the names of the files, not their content.

import { join } from "node:path";
import { CheckpointError, InterruptedError } from "../errors.js";
import { identifyFile, isUnchanged } from "./file-identity.js";
import { type Checkpoint, INDEX_FILE } from "./open-checkpoint.js";

/** Files that determine how weights and prompts are read, beside the index and the shards. */
const READ_FOR_COMPUTING =
  /^(config\.json|hf_quant_config\.json|generation_config\.json|kv_scales\.json|tokenizer.*|chat_template.*|processor_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\..*|merges\.txt)$/;

/**
 * Compares the files that a run has used with their state when the checkpoint was opened.
 * @throws CheckpointError naming the first one that was changed, replaced or removed
 */
export async function refuseChangedInput({ folder, files, shards, index }: Checkpoint): Promise<void> {
  const names = new Set([...files.keys()].filter((name) => READ_FOR_COMPUTING.test(name)));
  if (index !== undefined) names.add(INDEX_FILE);
  for (const { name } of shards) names.add(name);
  const found = await Promise.all(
    [...names].map(async (name) => ({ name, now: await identifyFile(join(folder, name)) })),
  );
  for (const { name, now } of found) {
    if (!isUnchanged(files.get(name), now)) throw changedWhileUsed(join(folder, name), now === undefined);
  }
}

/** The error for a file that changed after it was read. */
export function changedWhileUsed(path: string, isGone = false): CheckpointError {
  const what = isGone ? "was removed after this run read it" : "was changed after this run read it";
  return new CheckpointError(`${path}: ${what}. The results do not fit it. Run again when nothing changes the folder.`);
}

/**
 * Runs work that reads the checkpoint. If the checkpoint changed, that is the error, because it explains any other.
 * @throws as the work; CheckpointError when a file was changed meanwhile
 */
export async function withUnchangedInput<Result>(checkpoint: Checkpoint, work: () => Promise<Result>): Promise<Result> {
  let result: Result;
  try {
    result = await work();
  } catch (error) {
    if (!(error instanceof InterruptedError)) await refuseChangedInput(checkpoint);
    throw error;
  }
  await refuseChangedInput(checkpoint);
  return result;
}
