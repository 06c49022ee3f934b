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
import { hasOwnQuantization } from "./config-text.js";
import { type Checkpoint, INDEX_FILE, SINGLE_FILE } from "./open-checkpoint.js";
import { layOutCheckpoint, type OutputLayout, refuseExistingScales } from "./output-layout.js";
import { type Placement, placeFile, syncPath, writeFileAtomically } from "./place-file.js";
import { encodeSafetensors, type Float32Tensor } from "./safetensors-writer.js";

/** What an earlier run leaves in its output: only a folder with this file is replaced by --force. */
export const RECORD_FILE = "kv_scales.json";

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
  const removePartial = () => rm(partial, { recursive: true, force: true });
  try {
    await checkOutputFolder(checkpoint, target, options.force);
    await mkdir(dirname(target), { recursive: true });
    await removeLeftovers(target);
    await mkdir(partial);
    const placement = await fillFolder(checkpoint, partial, content, options);
    throwIfAborted(options.signal);
    await replaceFolder(partial, target);
    return placement;
  } catch (error) {
    await removePartial();
    throwIfAborted(options.signal);
    throw asWriteError(error, target);
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
  const exists = await stat(target).then(
    () => true,
    () => false,
  );
  if (exists) await rename(target, aside);
  try {
    await rename(partial, target);
  } catch (error) {
    if (exists) await rename(aside, target);
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
 * Adds the scales to the model's own folder. Each step leaves a folder that engines read rightly or refuse: the scales
 * before the index that names them, and the config that makes vLLM expect them when they are there.
 * @throws OutputExistsError, OutputWriteError
 */
export async function writeInPlace(checkpoint: Checkpoint, content: CheckpointContent, force: boolean): Promise<void> {
  const { folder } = checkpoint;
  const path = (name: string) => join(folder, name);
  try {
    if (!force) refuseExistingScales(checkpoint);
    const layout = layOutCheckpoint(checkpoint, content.scales);
    const writeConfig = () => writeFileAtomically(path("config.json"), content.configText);
    // The block without k_scale and v_scale would make vLLM run at scale 1.0 without a word: it goes first, or comes last.
    const blockGoes = hasOwnQuantization(checkpoint.config);
    if (blockGoes) await writeConfig();
    await writeFileAtomically(path(layout.scalesFile), encodeSafetensors(content.scales, content.metadata));
    const single = checkpoint.index === undefined ? layout.weights[0] : undefined;
    if (single !== undefined) await linkUnlessSame(single.shard.path, path(single.name));
    await writeFileAtomically(path(INDEX_FILE), layout.indexText);
    if (single !== undefined) await unlink(path(SINGLE_FILE));
    await writeFileAtomically(path(RECORD_FILE), content.recordText);
    if (!blockGoes) await writeConfig();
  } catch (error) {
    throw asWriteError(error, folder);
  }
}

/** A killed run may have made the link already. */
async function linkUnlessSame(source: string, target: string): Promise<void> {
  const existing = await stat(target).catch(() => undefined);
  if (existing !== undefined && existing.ino === (await stat(source)).ino) return;
  await link(source, target);
}

function asWriteError(error: unknown, target: string): Error {
  if (error instanceof KvScalesError) return error;
  const full = (error as NodeJS.ErrnoException).code === "ENOSPC";
  const advice = full
    ? "The disk is full: make room, or choose another place with -o."
    : "Choose another place with -o.";
  return new OutputWriteError(
    `${target}: could not be written: ${messageOf(error)}. ${advice} Nothing was left behind.`,
    {
      cause: error,
    },
  );
}
