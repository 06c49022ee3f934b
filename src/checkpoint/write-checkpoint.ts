// Writes the result as a new folder, which appears whole or not at all. Weights are linked, never rewritten. An earlier
// result is exchanged for the new one, and is removed only if all of it is ours. Does not know how scales are computed.

import { renameSync } from "node:fs";
import { lstat, readdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { codeOf, KvScalesError, messageOf, OutputExistsError, OutputWriteError, throwIfAborted } from "../errors.js";
import { exchangePaths } from "./exchange-paths.js";
import { changedWhileUsed, refuseChangedInput } from "./input-changes.js";
import { makeFolders } from "./make-folders.js";
import { type Checkpoint, INDEX_FILE } from "./open-checkpoint.js";
import { checkOutputFolder, inputWeights, targetOf } from "./output-checks.js";
import { layOutCheckpoint, type OutputLayout } from "./output-layout.js";
import { isPlaced, type Placement, placeFile, syncPath } from "./place-file.js";
import { RECORD_FILE, type WrittenFile, withFiles, writtenFile } from "./result-record.js";
import { encodeSafetensors, type Float32Tensor } from "./safetensors-writer.js";
import { copySideFile, findSideFiles, type SideFiles } from "./side-files.js";
import {
  clearLeftovers,
  makeWorkFolder,
  removeParents,
  removeReplaced,
  removeWorkFolder,
  type WorkFolder,
} from "./work-folder.js";
import { asWriteError } from "./write-error.js";

/** A new text for a file beside the weights. */
export interface SideText {
  readonly text: string;
  /** Whether it promises scales: in place it is then written after them, else before. */
  readonly promisesScales: boolean;
}

export interface CheckpointContent {
  readonly scales: readonly Float32Tensor[];
  /** `__metadata__` of the shard with the scales. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly configText: string;
  /** Files beside the weights that change, by name. */
  readonly sideTexts: ReadonlyMap<string, SideText>;
  /** Text of kv_scales.json; in a new folder the list of files is added. */
  readonly recordText: string;
}

export interface WriteOptions {
  readonly force: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Called while weights are copied because they cannot be linked. */
  readonly onCopied?: ((copied: number, total: number) => void) | undefined;
}

export interface WrittenCheckpoint {
  readonly placement: Placement;
  readonly warnings: readonly string[];
}

/**
 * Writes a new checkpoint folder: a hidden folder beside it, fsync, rename.
 * @throws OutputExistsError, CheckpointError for an input that changed meanwhile, OutputWriteError, InterruptedError;
 * in each case nothing is left behind
 */
export async function writeNewCheckpoint(
  checkpoint: Checkpoint,
  output: string,
  content: CheckpointContent,
  options: WriteOptions,
): Promise<WrittenCheckpoint> {
  const input = inputWeights(checkpoint);
  const warnings: string[] = [];
  let parents: readonly string[] = [];
  let work: WorkFolder | undefined;
  let target = output;
  let placement: Placement;
  let replaced: string | undefined;
  try {
    await refuseChangedInput(checkpoint);
    await checkOutputFolder(checkpoint, output, options.force);
    target = await targetOf(output);
    const sideFiles = await findSideFiles(checkpoint.folder);
    warnings.push(...linkWarnings(sideFiles));
    parents = await makeFolders(dirname(target));
    const { cameBack, staying } = await clearLeftovers(target, input);
    for (const path of staying) {
      warnings.push(
        `${path}: was left by a run that was killed, and contains files that may be needed. Check them, then remove it.`,
      );
    }
    if (cameBack) await checkOutputFolder(checkpoint, output, options.force);
    const layout = layOutCheckpoint(checkpoint, content.scales);
    work = await makeWorkFolder(target, namesOf(layout, sideFiles));
    placement = await fillFolder(checkpoint, work.fresh, { layout, sideFiles, content }, options);
    await refuseChangedInput(checkpoint);
    await checkOutputFolder(checkpoint, output, options.force);
    throwIfAborted(options.signal);
    replaced = await publish(work, target);
  } catch (error) {
    const left = work && (await removeWorkFolder(work, input));
    await removeParents(parents);
    if (left === undefined) throwIfAborted(options.signal);
    // A missing or changed input explains any error of the system.
    if (!(error instanceof KvScalesError)) await refuseChangedInput(checkpoint);
    throw asWriteError(error, target, left === undefined ? "Nothing was left behind." : `${left} was left behind.`);
  }
  try {
    await syncPath(dirname(target));
  } catch (cause) {
    // The old result stays until the new one is on disk.
    const left = replaced ?? (await removeWorkFolder(work, input));
    throw new OutputWriteError(
      `${target}: is complete, but the system could not confirm that it is on disk: ${messageOf(cause)}. Check the disk.${left === undefined ? "" : ` The old result is in ${left}.`}`,
      { cause },
    );
  }
  try {
    const kept = replaced && (await removeReplaced(work, replaced, target, input));
    if (kept) warnings.push(`${kept}: is the old result. It was kept because something was changed in it meanwhile.`);
    await removeWorkFolder(work, input);
  } catch (error) {
    warnings.push(`${work.path}: could not be removed (${messageOf(error)}). The result is complete.`);
  }
  return { placement, warnings };
}

/** The warning about links that were not followed. */
function linkWarnings({ notFollowed }: Pick<SideFiles, "notFollowed">): string[] {
  if (notFollowed.length === 0) return [];
  const are = notFollowed.length === 1 ? "is a link that leads" : "are links that lead";
  return [
    `${notFollowed.join(", ")} ${are} out of the model's folder: so not in the result. Copy what it needs, if you trust it.`,
  ];
}

function namesOf({ weights, scalesFile }: OutputLayout, { files }: SideFiles): string[] {
  const placed = [...files, ...weights].map(({ name }) => name);
  return [...placed, scalesFile, INDEX_FILE, "config.json", RECORD_FILE];
}

interface Parts {
  readonly layout: OutputLayout;
  readonly sideFiles: SideFiles;
  readonly content: CheckpointContent;
}

async function fillFolder(
  checkpoint: Checkpoint,
  folder: string,
  { layout, sideFiles, content }: Parts,
  options: WriteOptions,
): Promise<Placement> {
  const written: WrittenFile[] = [];
  for (const file of sideFiles.files) {
    throwIfAborted(options.signal);
    const changed = content.sideTexts.get(file.name);
    if (changed === undefined) written.push(await copySideFile(file, join(folder, file.name)));
    else written.push(await writeSynced(folder, file.name, changed.text));
  }
  const placement = await placeWeights(checkpoint, layout, folder, options);
  for (const { shard, name } of layout.weights) written.push({ name, bytes: shard.header.fileBytes });
  const files: readonly [string, string | Uint8Array][] = [
    [layout.scalesFile, encodeSafetensors(content.scales, content.metadata)],
    [INDEX_FILE, layout.indexText],
    ["config.json", content.configText],
  ];
  for (const [name, data] of files) written.push(await writeSynced(folder, name, data));
  await writeSynced(folder, RECORD_FILE, withFiles(content.recordText, written));
  await syncPath(folder);
  return placement;
}

async function writeSynced(folder: string, name: string, data: string | Uint8Array): Promise<WrittenFile> {
  const bytes = Buffer.from(data);
  await writeFile(join(folder, name), bytes, { flag: "wx", flush: true });
  return writtenFile(name, bytes);
}

/** Each is checked when it is in its place: it must be the shard that was measured. */
async function placeWeights(
  checkpoint: Checkpoint,
  layout: OutputLayout,
  folder: string,
  options: WriteOptions,
): Promise<Placement> {
  const total = layout.weights.reduce((sum, { shard }) => sum + shard.header.fileBytes, 0);
  let copied = 0;
  let worst: Placement = "hard link";
  for (const { shard, name } of layout.weights) {
    throwIfAborted(options.signal);
    const onCopied = (bytes: number) => {
      copied += bytes;
      options.onCopied?.(copied, total);
    };
    const placement = await placeFile(shard.path, join(folder, name), { signal: options.signal, onCopied });
    const known = checkpoint.files.get(shard.name);
    if (known === undefined || !(await isPlaced(join(folder, name), known, placement)))
      throw changedWhileUsed(shard.path);
    if (placement !== "hard link") worst = placement;
  }
  return worst;
}

/**
 * Moves the new folder to its name. An old result is exchanged for it in one step where the system can; elsewhere it is
 * moved aside first, and for some microseconds nothing has the name.
 * @returns the present path of the old result, if there was one
 */
async function publish({ fresh, aside }: WorkFolder, target: string): Promise<string | undefined> {
  if (await isAbsentOrEmpty(target)) {
    await rename(fresh, target).catch((error: unknown) => {
      if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "EEXIST") throw error;
      throw new OutputExistsError(
        `${target}: something was put there while this run was writing. Choose another with -o.`,
      );
    });
    return undefined;
  }
  if (await exchangePaths(fresh, target)) return fresh;
  renameSync(target, aside);
  try {
    renameSync(fresh, target);
  } catch (error) {
    renameSync(aside, target);
    throw error;
  }
  return aside;
}

async function isAbsentOrEmpty(target: string): Promise<boolean> {
  if ((await lstat(target).catch(() => undefined)) === undefined) return true;
  return (await readdir(target)).length === 0;
}
