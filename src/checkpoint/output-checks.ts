// Finds what would make writing fail before any work is done: an output with something else in it, a place where no
// folder can be made, a full disk. Tries what can be tried, and leaves nothing behind. Writes no result.

import { lstat, open, readdir, readFile, realpath, stat, statfs, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { codeOf, OutputExistsError, OutputWriteError, UsageError } from "../errors.js";
import { type FileIdentity, identifyFile, isSameFile } from "./file-identity.js";
import { makeFolders } from "./make-folders.js";
import { type Checkpoint, INDEX_FILE } from "./open-checkpoint.js";
import { layOutCheckpoint, refuseExistingScales } from "./output-layout.js";
import { placeFile, temporaryFile } from "./place-file.js";
import { hasRecordOfOurs, type InputWeights, listForeign, RECORD_FILE } from "./result-record.js";
import { readSafetensorsHeader } from "./safetensors-header.js";
import { holdsOnlyScales } from "./scale-names.js";
import { findSideFiles, isWithin, type SideFiles } from "./side-files.js";
import { clearLeftovers, isThere, makeWorkFolder, removeParents, removeWorkFolder } from "./work-folder.js";
import { asWriteError } from "./write-error.js";

/** The weights of a checkpoint, by the names that the result gives them. */
export function inputWeights(checkpoint: Checkpoint): InputWeights {
  const known = layOutCheckpoint(checkpoint, []).weights.map(({ shard, name }): [string, FileIdentity | undefined] => [
    name,
    checkpoint.files.get(shard.name),
  ]);
  return new Map(known.flatMap(([name, identity]) => (identity === undefined ? [] : [[name, identity] as const])));
}

/** The folder to write: the target, if the path is a link to a folder. */
export async function targetOf(output: string): Promise<string> {
  const found = await lstat(output).catch(() => undefined);
  if (!found?.isSymbolicLink()) return resolve(output);
  return realpath(output).catch(() => {
    throw new OutputExistsError(`${output}: is a link that leads nowhere. Choose another output with -o.`);
  });
}

/**
 * Checks that the output can be a new folder, or may be replaced.
 * @throws OutputExistsError naming what in it is not ours, UsageError when it is or contains the model,
 * OutputWriteError
 */
export async function checkOutputFolder(checkpoint: Checkpoint, output: string, force: boolean): Promise<void> {
  const target = await targetOf(output);
  const found = await stat(target).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw asWriteError(error, output, "Nothing was written.");
  });
  if (found === undefined) return;
  if (!found.isDirectory()) throw new OutputExistsError(`${output}: is a file. Choose another output with -o.`);
  await refuseToReplaceInput(checkpoint, output, await realpath(target));
  const files = await readdir(target);
  if (files.length === 0) return;
  if (!force)
    throw new OutputExistsError(`${output}: exists already. Pass --force to replace it, or choose another with -o.`);
  await refuseForeign(checkpoint, output, target, files);
}

/** By real path, in both directions, and for every shard: a shard may be a link into the output. */
async function refuseToReplaceInput(checkpoint: Checkpoint, output: string, real: string): Promise<void> {
  const home = await realpath(checkpoint.folder);
  if (real === home) {
    throw new UsageError(`${output}: is the model's own folder. Use --in-place to add the scales to it.`);
  }
  const inside = [home, ...checkpoint.shards.map(({ path }) => path)].find((path) => isWithin(path, real));
  if (inside === undefined) return;
  throw new UsageError(`${output}: holds ${inside}, which is the input. Choose an output beside it with -o.`);
}

const LISTED = 10;

async function refuseForeign(
  checkpoint: Checkpoint,
  output: string,
  target: string,
  files: readonly string[],
): Promise<void> {
  const foreign = await listForeign(target, inputWeights(checkpoint));
  if (foreign?.length === 0) return;
  const all = foreign?.map(({ name, reason }) => `${name} (${reason})`) ?? files;
  const names = [...all.slice(0, LISTED), ...(all.length > LISTED ? [`${all.length - LISTED} more`] : [])].join(", ");
  if (foreign !== undefined) {
    throw new OutputExistsError(
      `${output}: holds more than an earlier run of this program left there, so --force does not replace it: ${names}. Move that elsewhere, or choose another output with -o.`,
    );
  }
  const reason = (await hasRecordOfOurs(target))
    ? `its ${RECORD_FILE} is not that of a new folder: it was calibrated in place, by an early version, or edited`
    : files.includes(RECORD_FILE)
      ? `its ${RECORD_FILE} is of something else`
      : `it has no ${RECORD_FILE}`;
  throw new OutputExistsError(
    `${output}: exists and was not written by this program as a new folder (${reason}), so --force does not replace it. It holds ${names}. Choose another with -o.`,
  );
}

/** Room for scales, record and index, whose size is not known beforehand. */
export const SMALL_FILES_BYTES = 2 ** 20;

/**
 * Makes the run's hidden folder beside the output and removes it again. Restores an old result that a killed run had
 * moved aside.
 * @returns bytes that the result will take on disk, at most
 * @throws as checkOutputFolder; CheckpointError for files that cannot be copied, OutputWriteError for the place
 */
export async function tryNewFolder(checkpoint: Checkpoint, output: string, force: boolean): Promise<number> {
  let parents: readonly string[] = [];
  try {
    await checkOutputFolder(checkpoint, output, force);
    const sideFiles = await findSideFiles(checkpoint.folder);
    const target = await targetOf(output);
    const input = inputWeights(checkpoint);
    await refuseMountPoint(target);
    parents = await makeFolders(dirname(target));
    const { cameBack } = await clearLeftovers(target, input);
    if (cameBack) await checkOutputFolder(checkpoint, output, force);
    const names = [...sideFiles.files.map(({ name }) => name), ...input.keys(), INDEX_FILE];
    const work = await makeWorkFolder(target, [...names, TRIAL]);
    try {
      // Paths have a length limit, which the longest name meets first.
      const longest = names.reduce((a, b) => (Buffer.byteLength(a) >= Buffer.byteLength(b) ? a : b));
      for (const folder of [work.fresh, target]) await lstatIfThere(join(folder, longest));
      const needed = await bytesToWrite(checkpoint, sideFiles, join(work.fresh, TRIAL));
      await requireRoom(dirname(work.path), needed);
      return needed;
    } finally {
      await removeWorkFolder(work, input);
    }
  } catch (error) {
    throw asWriteError(error, output, "Nothing was written.");
  } finally {
    await removeParents(parents);
  }
}

const TRIAL = "trial";

async function lstatIfThere(path: string): Promise<void> {
  await lstat(path).catch((error: unknown) => {
    if (codeOf(error) !== "ENOENT") throw error;
  });
}

/** A mount point can be written to, but not replaced or renamed. */
async function refuseMountPoint(target: string): Promise<void> {
  const found = await stat(target).catch(() => undefined);
  if (found === undefined) return;
  const mounts = await readFile("/proc/self/mountinfo", "utf8").catch(() => "");
  const points = mounts.split("\n").map((line) => line.split(" ")[4]?.replaceAll("\\040", " "));
  if (found.dev === (await stat(dirname(target))).dev && !points.includes(await realpath(target))) return;
  throw new OutputWriteError(
    `${target}: is a mount point, which a new folder cannot take the place of. Name a folder inside it: -o ${join(target, "NAME")}`,
  );
}

/** Weights count where they can be neither linked nor cloned; one file of each disk is tried. */
async function bytesToWrite(checkpoint: Checkpoint, { files }: SideFiles, trial: string): Promise<number> {
  let bytes = SMALL_FILES_BYTES + files.reduce((sum, { identity }) => sum + Number(identity.size), 0);
  const copies = new Map<bigint, boolean>();
  for (const { name, path, header } of checkpoint.shards) {
    const dev = checkpoint.files.get(name)?.dev ?? 0n;
    const isCopied = copies.get(dev) ?? !(await canBePlaced(path, trial));
    copies.set(dev, isCopied);
    if (isCopied) bytes += header.fileBytes;
  }
  return bytes;
}

async function canBePlaced(path: string, trial: string): Promise<boolean> {
  const controller = new AbortController();
  controller.abort();
  try {
    await placeFile(path, trial, { signal: controller.signal });
    return true;
  } catch {
    return false;
  } finally {
    await unlink(trial).catch(() => {});
  }
}

async function requireRoom(folder: string, needed: number): Promise<void> {
  const { bavail, bsize, blocks } = await statfs(folder);
  const free = bavail * bsize;
  // Some file systems do not report their size.
  if (blocks === 0 || free >= needed) return;
  throw new OutputWriteError(
    `${folder}: has ${megabytes(free)} free, and the result needs ${megabytes(needed)}. Make room, or choose another place with -o.`,
  );
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * Checks that scales can be added to the model's own folder.
 * @throws OutputExistsError when it already has scales, or when a file that is not ours has their name
 */
export async function checkInPlace(checkpoint: Checkpoint, force: boolean): Promise<void> {
  if (!force) refuseExistingScales(checkpoint);
  const { folder } = checkpoint;
  const { scalesFile, weights } = layOutCheckpoint(checkpoint, []);
  const scales = join(folder, scalesFile);
  if ((await isThere(scales)) && !holdsOnlyScales(await readSafetensorsHeader(scales))) throw inTheWay(scales);
  for (const { shard, name } of weights) {
    const target = join(folder, name);
    if (!(await isThere(target))) continue;
    const [one, other] = await Promise.all([identifyFile(shard.path), identifyFile(target)]);
    if (one === undefined || other === undefined || !isSameFile(one, other)) throw inTheWay(target);
  }
  const index = join(folder, INDEX_FILE);
  if ((await isThere(index)) && (await identifyFile(index)) === undefined) throw inTheWay(index);
  const record = join(folder, RECORD_FILE);
  if ((await isThere(record)) && !(await hasRecordOfOurs(folder))) throw inTheWay(record);
}

function inTheWay(path: string): OutputExistsError {
  return new OutputExistsError(
    `${path}: is in the way and holds something else. Move it elsewhere, or write a new folder with -o instead of --in-place.`,
  );
}

/**
 * Makes a file in the model's own folder, and removes it again.
 * @throws as checkInPlace; OutputWriteError for the place
 */
export async function tryInPlace(checkpoint: Checkpoint, force: boolean): Promise<void> {
  await checkInPlace(checkpoint, force);
  const { folder, configText, index } = checkpoint;
  try {
    const trial = temporaryFile(folder);
    const file = await open(trial, "wx");
    try {
      await file.writeFile("\n");
    } finally {
      await file.close();
      await unlink(trial);
    }
    const bytes = configText.length + JSON.stringify(index ?? {}).length;
    await requireRoom(folder, SMALL_FILES_BYTES + bytes);
  } catch (error) {
    throw asWriteError(error, folder, "Nothing was written.");
  }
}
