// A folder with model.safetensors and an index: transformers loads the single file, vLLM and SGLang the files that the
// index names. Finds out whether both are the same weights. Knows nothing of their content.

import { join } from "node:path";
import { CheckpointError } from "../errors.js";
import { type FileIdentity, isSameFile } from "./file-identity.js";
import { readSafetensorsHeader } from "./safetensors-header.js";
import { holdsOnlyScales } from "./scale-names.js";

/** Number of files that a message names. */
const LISTED = 3;

/**
 * Checks the files that an index names beside the single file.
 * @param named names of files, as the index has them
 * @param files the plain files of the folder
 * @returns a warning if the index is left over from weights that are gone; undefined if all engines load the single
 * file
 * @throws CheckpointError when there are other weights beside the single file
 */
export async function judgeIndexBesideSingle(
  folder: string,
  { single, index, named }: { readonly single: string; readonly index: string; readonly named: Iterable<string> },
  files: ReadonlyMap<string, FileIdentity>,
): Promise<string | undefined> {
  const weights = files.get(single);
  const absent: string[] = [];
  const rivals: string[] = [];
  for (const name of new Set(named)) {
    const identity = files.get(name);
    if (identity === undefined) absent.push(name);
    else if (weights === undefined || !isSameFile(identity, weights)) {
      // A run with --in-place that was killed leaves its scales beside the single file.
      if (!holdsOnlyScales(await readSafetensorsHeader(join(folder, name)))) rivals.push(name);
    }
  }
  if (rivals.length > 0) {
    throw new CheckpointError(
      `${folder}: has ${single}, which transformers loads, and ${index}, which names other weights (${listed(rivals)}), which vLLM and SGLang load. Keep one of the two: remove ${single}, or the index and its files.`,
    );
  }
  if (absent.length === 0) return undefined;
  return `${index} names files that are not there (${listed(absent)}): ${single} was read, as transformers does. vLLM and SGLang refuse the model's folder; the result has an index of its own.`;
}

function listed(names: readonly string[]): string {
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : "";
  return `${names.slice(0, LISTED).join(", ")}${more}`;
}
