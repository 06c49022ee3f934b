// Writes the result: a new folder that appears whole or not at all, or files added to the model's own folder in an order
// that no engine can misread half-way. Weights are linked, never rewritten. Knows nothing of how scales came to be.

import { copyFile, link, mkdir, readdir, realpath, rename, rm, stat, unlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  KvScalesError,
  messageOf,
  OutputExistsError,
  OutputWriteError,
  throwIfAborted,
  UsageError,
} from "../errors.js";
import { patchConfigText } from "./config-text.js";
import { makeFolders } from "./make-folders.js";
import { type Checkpoint, INDEX_FILE, SINGLE_FILE } from "./open-checkpoint.js";
import { layOutCheckpoint, type OutputLayout, refuseExistingScales } from "./output-layout.js";
import { type Placement, placeFile, syncPath, writeFileAtomically } from "./place-file.js";
import { readSafetensorsHeader } from "./safetensors-header.js";
import { encodeSafetensors, type Float32Tensor } from "./safetensors-writer.js";
import { holdsOnlyScales } from "./scale-names.js";

/** What an earlier run leaves in its output: only a folder with this file is replaced by --force. */
const RECORD_FILE = "kv_scales.json";

export interface CheckpointContent {
  readonly scales: readonly Float32Tensor[];
  /** `__metadata__` of the shard with the scales. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly configText: string;
  /** Text of kv_scales.json. */
  readonly recordText: string;
}

export interface WriteOptions {
  readonly force: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Called while weights are copied because they cannot be linked. */
  readonly onCopied?: ((copied: number, total: number) => void) | undefined;
}

/** Weights in other formats: they have no place beside scales, and would be downloaded or loaded twice. */
const OTHER_WEIGHTS = /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|gguf|onnx|msgpack|h5|ot)$/;

/**
 * Checks, before any work is done, that the output folder can be written.
 * @throws OutputExistsError, UsageError
 */
export async function checkOutputFolder(checkpoint: Checkpoint, output: string, force: boolean): Promise<void> {
  const found = await stat(output).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isDirectory()) throw new OutputExistsError(`${output}: is a file. Choose another output with -o.`);
  if ((await realpath(output)) === (await realpath(checkpoint.folder))) {
    throw new UsageError(`${output}: is the model's own folder. Use --in-place to add the scales to it.`);
  }
  const files = await readdir(output);
  if (files.length === 0) return;
  if (!force)
    throw new OutputExistsError(`${output}: exists already. Pass --force to replace it, or choose another with -o.`);
  if (!files.includes(RECORD_FILE)) {
    throw new OutputExistsError(
      `${output}: exists and was not written by this program (it has no ${RECORD_FILE}), so --force does not replace it. Choose another with -o.`,
    );
  }
}

/**
 * Writes a new checkpoint folder beside the weights' own: temporary folder, fsync, rename.
 * @throws OutputExistsError, OutputWriteError, InterruptedError; in each case nothing is left behind
 */
export async function writeNewCheckpoint(
  checkpoint: Checkpoint,
  output: string,
  content: CheckpointContent,
  options: WriteOptions,
): Promise<Placement> {
  const target = resolve(output);
  const partial = join(dirname(target), `.${basename(target)}.partial-${process.pid}`);
  try {
    await checkOutputFolder(checkpoint, target, options.force);
    await makeFolders(dirname(target));
    await removeLeftovers(target);
    await mkdir(partial);
    const placement = await fillFolder(checkpoint, partial, content, options);
    throwIfAborted(options.signal);
    await replaceFolder(partial, target);
    return placement;
  } catch (error) {
    // An error of the clearing must not hide the first one.
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throwIfAborted(options.signal);
    throw asWriteError(error, target, "Nothing was left behind.");
  }
}

async function fillFolder(
  checkpoint: Checkpoint,
  folder: string,
  content: CheckpointContent,
  options: WriteOptions,
): Promise<Placement> {
  const layout = layOutCheckpoint(checkpoint, content.scales);
  await copySideFiles(checkpoint.folder, folder);
  const placement = await placeWeights(layout, folder, options);
  const files: [string, string | Uint8Array][] = [
    [layout.scalesFile, encodeSafetensors(content.scales, content.metadata)],
    [INDEX_FILE, layout.indexText],
    ["config.json", content.configText],
    [RECORD_FILE, content.recordText],
  ];
  for (const [name, data] of files) {
    await writeFile(join(folder, name), data);
    await syncPath(join(folder, name));
  }
  await syncPath(folder);
  return placement;
}

/** Tokenizer, generation config, licence, model code: everything at the top level that is not weights. */
async function copySideFiles(source: string, target: string): Promise<void> {
  for (const name of await readdir(source)) {
    if (name === "config.json" || name === RECORD_FILE || name.startsWith(".") || OTHER_WEIGHTS.test(name)) continue;
    if ((await stat(join(source, name))).isFile()) await copyFile(join(source, name), join(target, name));
  }
}

async function placeWeights(layout: OutputLayout, folder: string, options: WriteOptions): Promise<Placement> {
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
    if (placement !== "hard link") worst = placement;
  }
  return worst;
}

/** A folder cannot be renamed over one that has files, so an old one steps aside first. */
async function replaceFolder(partial: string, target: string): Promise<void> {
  const aside = join(dirname(target), `.${basename(target)}.replaced-${process.pid}`);
  const isThere = await exists(target);
  if (isThere) await rename(target, aside);
  try {
    await rename(partial, target);
  } catch (error) {
    if (isThere) await rename(aside, target);
    throw error;
  }
  await syncPath(dirname(target));
  await rm(aside, { recursive: true, force: true });
}

/** Clears what a killed run left: a partial folder goes, an old result that had stepped aside comes back. */
async function removeLeftovers(target: string): Promise<void> {
  const parent = dirname(target);
  const names = await readdir(parent);
  for (const name of names) {
    const [, kind, pid] = name.startsWith(`.${basename(target)}.`)
      ? (/\.(partial|replaced)-(\d+)$/.exec(name) ?? [])
      : [];
    if (kind === undefined || isRunning(Number(pid))) continue;
    const path = join(parent, name);
    const targetIsThere = names.includes(basename(target));
    if (kind === "replaced" && !targetIsThere) await rename(path, target);
    else await rm(path, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * Checks, before any work is done, that scales can be added to the model's own folder.
 * @throws OutputExistsError when they are there already, or when a file that is not from this program is in their way
 */
export async function checkInPlace(checkpoint: Checkpoint, force: boolean): Promise<void> {
  if (!force) refuseExistingScales(checkpoint);
  const { scalesFile, weights } = layOutCheckpoint(checkpoint, []);
  const scales = join(checkpoint.folder, scalesFile);
  if ((await exists(scales)) && !holdsOnlyScales(await readSafetensorsHeader(scales))) throw inTheWay(scales);
  for (const { shard, name } of weights) {
    const target = join(checkpoint.folder, name);
    if ((await exists(target)) && !(await isSameFile(shard.path, target))) throw inTheWay(target);
  }
}

function inTheWay(path: string): OutputExistsError {
  return new OutputExistsError(
    `${path}: is in the way and holds something else. Move it elsewhere, or write a new folder with -o instead of --in-place.`,
  );
}

/**
 * Adds the scales to the model's own folder. Each step leaves a folder that engines read rightly or refuse: the scales
 * before the index that names them; what config.json says of them goes first and comes last, for the block without
 * k_scale and v_scale would make vLLM run at scale 1.0 without a word.
 * @throws OutputExistsError, OutputWriteError
 */
export async function writeInPlace(checkpoint: Checkpoint, content: CheckpointContent, force: boolean): Promise<void> {
  const { folder, configText } = checkpoint;
  const path = (name: string) => join(folder, name);
  try {
    await checkInPlace(checkpoint, force);
    await removeDeadPartials(folder);
    const layout = layOutCheckpoint(checkpoint, content.scales);
    const changesConfig = content.configText !== configText;
    const withoutScales = patchConfigText(configText, checkpoint.config, {});
    if (changesConfig && withoutScales !== configText) await writeFileAtomically(path("config.json"), withoutScales);
    await writeFileAtomically(path(layout.scalesFile), encodeSafetensors(content.scales, content.metadata));
    const single = checkpoint.index === undefined ? layout.weights[0] : undefined;
    const isLinked = single !== undefined && (await linkIfPossible(single.shard.path, path(single.name)));
    await writeFileAtomically(path(INDEX_FILE), layout.indexText);
    if (isLinked) await unlink(path(SINGLE_FILE));
    else if (single !== undefined) await rename(path(SINGLE_FILE), path(single.name));
    await writeFileAtomically(path(RECORD_FILE), content.recordText);
    if (changesConfig) await writeFileAtomically(path("config.json"), content.configText);
  } catch (error) {
    throw asWriteError(error, folder, "The weights are as they were; run it again with --force.");
  }
}

/** A killed run may have made the link already; a file system without links has the file renamed a step later. */
async function linkIfPossible(source: string, target: string): Promise<boolean> {
  if (await exists(target)) return true;
  return link(source, target).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOSPC") throw error;
      return false;
    },
  );
}

/** Clears the temporary files of runs that were killed. */
async function removeDeadPartials(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, pid] = /^\.(\d+)\.partial$/.exec(name) ?? [];
    if (pid !== undefined && !isRunning(Number(pid))) await rm(join(folder, name), { force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([stat(one), stat(other)]);
  return a.ino === b.ino && a.dev === b.dev;
}

function asWriteError(error: unknown, target: string, aftermath: string): Error {
  if (error instanceof KvScalesError) return error;
  const full = (error as NodeJS.ErrnoException).code === "ENOSPC";
  const advice = full
    ? "The disk is full: make room, or choose another place with -o."
    : "Choose another place with -o.";
  return new OutputWriteError(`${target}: could not be written: ${messageOf(error)}. ${advice} ${aftermath}`, {
    cause: error,
  });
}
