// The hidden folder beside an output in which a run makes the new one, and the clean-up of those that killed runs left.
// A marker inside says who made it, and for which output; a folder without a marker is never touched.

import { lstat, mkdir, readdir, readFile, rename, rmdir, unlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { codeOf } from "../errors.js";
import { identifyFile } from "./file-identity.js";
import { makerOfTag, type ProcessIdentity, stateOf, temporaryTag, thisProcess } from "./process-identity.js";
import { type InputWeights, listForeign, RECORD_FILE } from "./result-record.js";

export interface WorkFolder {
  readonly path: string;
  /** The new folder while it is made. After an exchange, the old result is here. */
  readonly fresh: string;
  /**
   * The place for an old result that is moved aside, where the two cannot be exchanged. After a kill it is restored
   * from here.
   */
  readonly aside: string;
  readonly marker: Marker;
}

type Places = Omit<WorkFolder, "marker">;

export interface Marker extends ProcessIdentity {
  readonly tool: "create-kv-scales";
  /** Name of the folder beside this one that the run writes. */
  readonly output: string;
  /** Inode of `fresh` when it was made: distinguishes the new folder from an old result that was exchanged for it. */
  readonly fresh: string;
  /** Names of the files that the run may put into `fresh`. */
  readonly files: readonly string[];
}

const MARKER = "written-by.json";
const MAX_MARKER_BYTES = 10_000_000;

/** Most file systems allow 255 bytes in a name. The tag takes 28, other additions 10. */
const MAX_NAME_BYTES = 255 - 40;

/** A run of another machine or container, which cannot be checked, counts as dead after so long without a change. */
export const SILENCE_MS = 24 * 60 * 60 * 1000;

function prefixOf(target: string): string {
  let name = basename(target);
  while (Buffer.byteLength(name) > MAX_NAME_BYTES) name = [...name].slice(0, -1).join("");
  return `.${name}.partial-`;
}

function layOut(path: string): Places {
  return { path, fresh: join(path, "new"), aside: join(path, "old") };
}

/** Makes the folder beside `target`. @param files the names that the new folder will get */
export async function makeWorkFolder(target: string, files: readonly string[]): Promise<WorkFolder> {
  const places = layOut(join(dirname(target), prefixOf(target) + temporaryTag()));
  await mkdir(places.path);
  try {
    await mkdir(places.fresh);
    const fresh = String((await lstat(places.fresh, { bigint: true })).ino);
    const marker: Marker = { tool: "create-kv-scales", output: basename(target), ...thisProcess(), fresh, files };
    await writeFile(join(places.path, MARKER), `${JSON.stringify(marker)}\n`, { flag: "wx" });
    return { ...places, marker };
  } catch (error) {
    await removeUnfinished(places);
    throw error;
  }
}

/**
 * Removes the folder of this run and its files.
 * @returns the paths that stay because they are not ours
 */
export async function removeWorkFolder(work: WorkFolder, input: InputWeights): Promise<string | undefined> {
  return (await removeMarked(work, work.marker, input).catch(() => false)) ? undefined : work.path;
}

/**
 * Cleans up what killed runs left beside `target`: removes unfinished folders, and restores an old result that was
 * moved aside if nothing is in its place.
 * @returns whether an old result was restored, and folders that stay because something in them must not be removed
 */
export async function clearLeftovers(
  target: string,
  input: InputWeights,
): Promise<{ readonly cameBack: boolean; readonly staying: readonly string[] }> {
  const wasThere = await isThere(target);
  const parent = dirname(target);
  const prefix = prefixOf(target);
  const staying: string[] = [];
  for (const name of await readdir(parent)) {
    const maker = name.startsWith(prefix) ? makerOfTag(name.slice(prefix.length)) : undefined;
    const work = layOut(join(parent, name));
    if (maker === undefined || !(await lstat(work.path).catch(() => undefined))?.isDirectory()) continue;
    const marker = await readMarker(work.path);
    if (marker !== undefined && marker.output !== basename(target)) continue;
    if (!(await isDead(marker ?? maker, work))) continue;
    if (marker === undefined) await removeUnfinished(work);
    else if (!(await clearLeftover(work, target, marker, input).catch(() => false))) staying.push(work.path);
  }
  return { cameBack: !wasThere && (await isThere(target)), staying };
}

/** Whether something has the name, a broken link too. */
export async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function clearLeftover(work: Places, target: string, marker: Marker, input: InputWeights): Promise<boolean> {
  await comeBack(work, target, marker);
  return removeMarked(work, marker, input);
}

async function isDead(maker: ProcessIdentity, work: Places): Promise<boolean> {
  const state = stateOf(maker);
  return state === "gone" || (state === "unknown" && Date.now() - (await lastChangeIn(work)) > SILENCE_MS);
}

async function lastChangeIn({ path, fresh }: Places): Promise<number> {
  const inside = (await readdir(fresh).catch(() => [])).map((name) => join(fresh, name));
  const found = await Promise.all([path, fresh, ...inside].map((each) => lstat(each).catch(() => undefined)));
  return Math.max(...found.map((stats) => stats?.mtimeMs ?? 0));
}

/** Restores the old result unless something is in its place. */
async function comeBack({ aside }: Places, target: string, marker: Marker): Promise<void> {
  const there = await lstat(target, { bigint: true }).catch(() => undefined);
  if (there === undefined) await renameIfThere(aside, target);
  // The new one is in its place: the old one may be removed.
  else if (String(there.ino) === marker.fresh) await renameIfThere(aside, join(dirname(aside), REMOVED));
}

/** A folder gets this name before it is removed, so that nobody exchanges or restores it half-way. */
const REMOVED = "removed";

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

async function removeMarked(work: Places, marker: Marker, input: InputWeights): Promise<boolean> {
  const removed = join(work.path, REMOVED);
  // Twice: first the rest of an earlier removal.
  for (const isFirst of [true, false]) {
    if (!isFirst && !(await renameIfThere(work.fresh, removed).catch(() => false))) continue;
    const found = await lstat(removed, { bigint: true }).catch(() => undefined);
    if (!found?.isDirectory()) continue;
    if (String(found.ino) === marker.fresh) await removeNames(removed, marker.files);
    else await removeResult(removed, input);
  }
  return removeEmptied(work.path);
}

/** The marker is removed last, and only from a folder with nothing else in it. */
async function removeEmptied(path: string): Promise<boolean> {
  const names = await readdir(path);
  if (names.some((name) => name !== MARKER)) return false;
  if (names.length > 0) await unlink(join(path, MARKER));
  await rmdir(path);
  return true;
}

/** A run was killed before it wrote the marker, so the folder must be empty: only an empty one is removed. */
async function removeUnfinished({ path, fresh }: Places): Promise<boolean> {
  await rmdir(fresh).catch(() => {});
  return removeEmptied(path).catch(() => false);
}

/** Removes plain files by name, and the folder if it is empty then. */
async function removeNames(folder: string, names: readonly string[]): Promise<void> {
  for (const name of new Set([...names, RECORD_FILE])) {
    const path = join(folder, name);
    if ((await lstat(path).catch(() => undefined))?.isFile()) await unlink(path);
  }
  await rmdir(folder).catch(() => {});
}

/**
 * Removes an earlier result if all of it is ours. The record is removed last, so that after a kill the rest is still
 * known to be ours.
 * @returns false when something is not ours; everything stays then
 */
async function removeResult(folder: string, input: InputWeights): Promise<boolean> {
  const names = await readdir(folder);
  const foreign = names.length === 0 ? [] : await listForeign(folder, input);
  if (foreign === undefined || foreign.length > 0) return false;
  for (const name of names) if (name !== RECORD_FILE) await unlink(join(folder, name));
  if (names.includes(RECORD_FILE)) await unlink(join(folder, RECORD_FILE));
  await rmdir(folder);
  return true;
}

/**
 * Removes the replaced result from the work folder. If something in it is not ours, it gets a visible name beside the
 * new one instead.
 * @returns that name
 */
export async function removeReplaced(
  work: WorkFolder,
  replaced: string,
  target: string,
  input: InputWeights,
): Promise<string | undefined> {
  const removed = join(work.path, REMOVED);
  await rename(replaced, removed);
  if (await removeResult(removed, input)) return undefined;
  const kept = join(dirname(target), `${prefixOf(target).slice(1, -"partial-".length)}kept-${temporaryTag()}`);
  await rename(removed, kept);
  return kept;
}

async function readMarker(path: string): Promise<Marker | undefined> {
  const file = join(path, MARKER);
  const found = await identifyFile(file);
  if (found === undefined || found.size > MAX_MARKER_BYTES) return undefined;
  try {
    const json: unknown = JSON.parse(await readFile(file, "utf8"));
    return isMarker(json) ? json : undefined;
  } catch {
    return undefined;
  }
}

function isMarker(value: unknown): value is Marker {
  if (typeof value !== "object" || value === null) return false;
  const found: Partial<Record<keyof Marker, unknown>> = value;
  const texts = [found.output, found.scope, found.started, found.fresh];
  return (
    found.tool === "create-kv-scales" &&
    texts.every((text) => typeof text === "string") &&
    Number.isSafeInteger(found.pid) &&
    Array.isArray(found.files) &&
    found.files.every((name) => typeof name === "string" && name === basename(name))
  );
}

/** Removes folders that `makeFolders` made, if they are empty. */
export async function removeParents(made: readonly string[]): Promise<void> {
  for (const path of made.toReversed()) await rmdir(path).catch(() => {});
}
