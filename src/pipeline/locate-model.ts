// From what the user calls a model to a folder on disk: a folder as it is, a hub id through the hub's cache, nothing for
// the embedded example. Decides where the result goes by default, and that nothing of ours lands in the hub's cache.

import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type CachedModel, modelOfSnapshot } from "../checkpoint/hub-folders.js";
import { isWithin } from "../checkpoint/side-files.js";
import { UsageError } from "../errors.js";
import type { DownloadProgress } from "../hub/download-files.js";
import { isHubId } from "../hub/hub-id.js";
import { type HubModel, hubModelOf } from "../hub/hub-url.js";
import { A_MODEL, requireOptions, requireText } from "./option-checks.js";
import type { ModelOptions } from "./run-options.js";

/** The tiny trained Llama that ships with the package. */
export const EMBEDDED_EXAMPLE = fileURLToPath(new URL("../../examples/tiny-llama", import.meta.url));

export interface LocateOptions extends ModelOptions {
  readonly inPlace?: boolean | undefined;
  readonly onProgress?: ((progress: { readonly stage: "download" } & DownloadProgress) => void) | undefined;
}

export interface LocatedModel {
  readonly folder: string;
  /** What the result is called, without the ending that says what it is. A path, from the current folder. */
  readonly resultName: string;
  /** Where it lies in the hub's cache, if it does. */
  readonly cached: CachedModel | undefined;
}

/** @throws UsageError for options that do not go together, HubError and what else the download throws */
export async function locateModel(options: LocateOptions): Promise<LocatedModel> {
  requireOptions(options);
  const { signal, onProgress } = options;
  requireText("model", options.model, A_MODEL);
  const page = hubModelOf(options.model);
  const model = page?.repo ?? options.model;
  const revision = revisionOf(page, options);
  const isFolder = await stat(model).then(
    () => true,
    () => false,
  );
  if (page === undefined && (isFolder || !isHubId(model))) {
    if (revision !== undefined) throw new UsageError(`--revision goes with a hub id (org/name); ${model} is a folder`);
    const folder = resolve(model);
    const cached = modelOfSnapshot(await realPathOf(folder));
    if (cached !== undefined && options.inPlace) throw inPlaceInCache();
    return { folder, resultName: nameOfResult(folder, cached), cached };
  }
  if (options.inPlace) throw inPlaceInCache();
  // Loaded here alone: a run without a hub id needs none of it.
  const { downloadCheckpoint } = await import("../hub/download-checkpoint.js");
  const folder = await downloadCheckpoint({
    repo: model,
    revision,
    signal,
    onProgress: (progress) => onProgress?.({ stage: "download", ...progress }),
  });
  return { folder, resultName: basename(model), cached: modelOfSnapshot(await realPathOf(folder)) };
}

/** Links resolved, where the path leads somewhere. */
function realPathOf(path: string): Promise<string> {
  return realpath(path).catch(() => path);
}

function inPlaceInCache(): UsageError {
  return new UsageError(`--in-place would change the hub's cache, which other programs share. Leave it out.`);
}

/** What comes out of the hub's cache, and the result of the embedded example, go where the user is. */
function nameOfResult(folder: string, cached: CachedModel | undefined): string {
  if (cached !== undefined) return basename(cached.repo);
  return folder === EMBEDDED_EXAMPLE ? basename(folder) : folder;
}

/**
 * The folder to write.
 * @param output as the user gives it; absent: beside the model, or where the user is
 * @param ending of a name that the user does not give
 * @throws UsageError for a place in the hub's cache, which lists what lies there as damaged
 */
export async function placeOfResult(
  { resultName, cached }: LocatedModel,
  output: string | undefined,
  ending: string,
): Promise<string> {
  const target = resolve(output ?? `${resultName}-${ending}`);
  if (cached === undefined) return target;
  const parent = await realPathOf(dirname(target));
  const isBesideRepos = output === undefined && parent === dirname(cached.repoFolder);
  if (!isBesideRepos && !isWithin(join(parent, basename(target)), cached.repoFolder)) return target;
  throw new UsageError(
    `${target}: would be in the hub's cache, which other programs share. Choose another place for the result with -o.`,
  );
}

/** @throws UsageError when the address of a page names one, and --revision another */
function revisionOf(page: HubModel | undefined, { model, revision }: LocateOptions): string | undefined {
  if (revision === undefined || page?.revision === undefined || page.revision === revision) {
    return revision ?? page?.revision;
  }
  throw new UsageError(`${model} is of ${page.revision}, but --revision is ${revision}. Leave one of them out.`);
}
