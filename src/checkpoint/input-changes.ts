// Refuses what comes of a checkpoint that somebody changed while it was being used: scales of other weights than those
// beside them, or a config.json whose edit would be lost. Knows the names of the files that are used, not what is in them.

import { join } from "node:path";
import { CheckpointError, InterruptedError } from "../errors.js";
import { identifyFile, isUnchanged } from "./file-identity.js";
import { type Checkpoint, INDEX_FILE } from "./open-checkpoint.js";

/** Files that say how the weights and the prompts are read, beside the index and the shards. */
const READ_FOR_COMPUTING =
  /^(config\.json|generation_config\.json|kv_scales\.json|tokenizer.*|chat_template.*|special_tokens_map\.json|added_tokens\.json|vocab\..*|merges\.txt)$/;

/**
 * Compares the files that a run has used with what they were when the checkpoint was opened.
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

/** What a file that is no longer as it was read is refused with. */
export function changedWhileUsed(path: string, isGone = false): CheckpointError {
  const what = isGone
    ? "is gone, or no file any more, though this run has read it"
    : "was changed after this run read it";
  return new CheckpointError(
    `${path}: ${what}. What was computed does not fit it. Run it again when the folder is at rest.`,
  );
}

/**
 * Runs work that reads the checkpoint. A change of the checkpoint explains whatever error it causes, so it is named instead.
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
