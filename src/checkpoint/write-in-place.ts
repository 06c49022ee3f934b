// Adds scales to the model's own folder, in an order that no engine can misread half-way, and without overwriting a
// change that somebody made meanwhile. Does not know how scales are computed.

import { renameSync } from "node:fs";
import { link, lstat, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, codeOf } from "../errors.js";
import { patchConfigText } from "./config-text.js";
import { identifyFile, isUnchanged } from "./file-identity.js";
import { changedWhileUsed, refuseChangedInput } from "./input-changes.js";
import { type Checkpoint, INDEX_FILE, SINGLE_FILE } from "./open-checkpoint.js";
import { checkInPlace, inputWeights } from "./output-checks.js";
import { layOutCheckpoint } from "./output-layout.js";
import { ReplacedMeanwhileError, removeFile, replaceFile, syncPath, tagOfTemporaryFile } from "./place-file.js";
import { makerOfTag, stateOf } from "./process-identity.js";
import { filesOfOurs, RECORD_FILE, type WrittenFile, withFiles, writtenFile } from "./result-record.js";
import { encodeSafetensors } from "./safetensors-writer.js";
import { SILENCE_MS } from "./work-folder.js";
import type { CheckpointContent } from "./write-checkpoint.js";
import { asWriteError } from "./write-error.js";

/**
 * Adds the scales to the model's own folder. After each step engines read the folder correctly or refuse it. The scales
 * are written before the index that names them. The old keys of config.json are removed first and the new ones added
 * last, because with the block but without k_scale and v_scale vLLM would run at scale 1.0 without an error.
 * @throws OutputExistsError, CheckpointError for a file that changed meanwhile, OutputWriteError
 */
export async function writeInPlace(checkpoint: Checkpoint, content: CheckpointContent, force: boolean): Promise<void> {
  const { folder, configText } = checkpoint;
  const path = (name: string) => join(folder, name);
  const files = new Map(checkpoint.files);
  const replace = async (name: string, data: string | Uint8Array) => {
    files.set(name, await replaceFile(path(name), data, files.get(name)));
  };
  try {
    await refuseChangedInput(checkpoint);
    await checkInPlace(checkpoint, force);
    await removeDeadTemporaryFiles(folder);
    const layout = layOutCheckpoint(checkpoint, content.scales);
    const scales = encodeSafetensors(content.scales, content.metadata);
    const ours = await filesOfOurs(folder, inputWeights(checkpoint));
    const changesConfig = content.configText !== configText;
    const withoutScales = patchConfigText(configText, checkpoint.config, {});
    if (changesConfig && withoutScales !== configText) await replace("config.json", withoutScales);
    const sideTexts = [...content.sideTexts].map(([name, { text, promisesScales }]) => ({
      name,
      text,
      promisesScales,
    }));
    for (const { name, text } of sideTexts.filter(({ promisesScales }) => !promisesScales)) await replace(name, text);
    await replace(layout.scalesFile, scales);
    const single = checkpoint.index === undefined ? layout.weights[0] : undefined;
    const isLinked = single !== undefined && (await linkIfPossible(single.shard.path, path(single.name)));
    await replace(INDEX_FILE, layout.indexText);
    if (single !== undefined) await giveUpSingleFile(checkpoint, path(single.name), isLinked);
    const written = [
      writtenFile(layout.scalesFile, scales),
      writtenFile(INDEX_FILE, Buffer.from(layout.indexText)),
      writtenFile("config.json", Buffer.from(content.configText)),
      ...sideTexts.map(({ name, text }) => writtenFile(name, Buffer.from(text))),
    ];
    await replace(RECORD_FILE, recordTextOf(content, ours, written));
    for (const { shard, name } of layout.weights) {
      const known = files.get(shard.name);
      if (!isUnchanged(await identifyFile(path(name)), known)) throw changedWhileUsed(path(name));
    }
    for (const { name, text } of sideTexts.filter(({ promisesScales }) => promisesScales)) await replace(name, text);
    if (changesConfig) await replace("config.json", content.configText);
    else if (!isUnchanged(await identifyFile(path("config.json")), files.get("config.json"))) {
      throw changedWhileUsed(path("config.json"));
    }
    await syncPath(folder);
  } catch (error) {
    if (error instanceof ReplacedMeanwhileError) {
      throw new CheckpointError(
        `${error.message}: was changed while scales were being added to its folder. The change was kept; run it again with --force.`,
        { cause: error },
      );
    }
    throw asWriteError(error, folder, "The weights are as they were; run it again with --force.");
  }
}

/** In a folder that was all ours the record lists the new files. A model's own folder gets no list. */
function recordTextOf(
  { recordText }: CheckpointContent,
  ours: readonly WrittenFile[] | undefined,
  written: readonly WrittenFile[],
): string {
  if (ours === undefined) return recordText;
  const others = ours.filter(({ name }) => !written.some((file) => file.name === name));
  return withFiles(recordText, [...others, ...written]);
}

/** A killed run may already have made the link; on a file system without links the file is renamed a step later. */
async function linkIfPossible(source: string, target: string): Promise<boolean> {
  if (await lstat(target).catch(() => undefined)) return true;
  return link(source, target).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === "ENOSPC") throw error;
      return false;
    },
  );
}

/** Beside an index, transformers would read only model.safetensors. */
async function giveUpSingleFile({ folder, files }: Checkpoint, target: string, isLinked: boolean): Promise<void> {
  const path = join(folder, SINGLE_FILE);
  const known = files.get(SINGLE_FILE);
  if (known === undefined || !isUnchanged(await identifyFile(path), known)) throw new ReplacedMeanwhileError(path);
  if (!isLinked) {
    renameSync(path, target);
    return;
  }
  if (!isUnchanged(await identifyFile(target), known)) throw new ReplacedMeanwhileError(target);
  await removeFile(path, known);
}

/** Removes the temporary files of killed runs. */
async function removeDeadTemporaryFiles(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const tag = tagOfTemporaryFile(name);
    const maker = tag === undefined ? undefined : makerOfTag(tag);
    const found = maker && (await lstat(join(folder, name)).catch(() => undefined));
    if (maker === undefined || !found?.isFile()) continue;
    const state = stateOf(maker);
    const isDead = state === "gone" || (state === "unknown" && Date.now() - found.mtimeMs > SILENCE_MS);
    if (isDead) await unlink(join(folder, name));
  }
}
