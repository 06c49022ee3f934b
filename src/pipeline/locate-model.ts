// From what the user calls a model to a folder on disk: a folder as it is, a hub id through the hub's cache, nothing for
// the embedded example. Decides where the result goes by default, and that nothing of ours lands in the hub's cache.

import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type CachedModel, modelOfSnapshot } from "../checkpoint/hub-folders.js";
import { isWithin } from "../checkpoint/side-files.js";
import { UsageError } from "../errors.js";
import type { DownloadProgress } from "../hub/download-files.js";
import { isHubId, splitRevision } from "../hub/hub-id.js";
import { type HubModel, hubModelOf } from "../hub/hub-url.js";
import { A_MODEL, requireOptions, requireText } from "./option-checks.js";
import { EMBEDDED_EXAMPLE, type ModelOptions } from "./run-options.js";

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

/** @param env with HF_HOME and others; the process's by default. @throws UsageError for options that do not go together, HubError and what else the download throws */
export async function locateModel(options: LocateOptions, env?: NodeJS.ProcessEnv): Promise<LocatedModel> {
  requireOptions(options);
  const { signal, onProgress } = options;
  requireText("model", options.model, A_MODEL);
  const named = await hubModelIn(options.model);
  const revision = revisionOf(named, options);
  if (named === undefined) {
    const { model } = options;
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
    repo: named.repo,
    ...{ revision, env },
    signal,
    onProgress: (progress) => onProgress?.({ stage: "download", ...progress }),
  });
  return { folder, resultName: basename(named.repo), cached: modelOfSnapshot(await realPathOf(folder)) };
}

/**
 * The model on the hub that a text names: `org/name`, `org/name@revision`, or the address of its page. Undefined for a
 * folder, and for what is nothing of all that. @throws UsageError for an address that names no model
 */
async function hubModelIn(model: string): Promise<HubModel | undefined> {
  const page = hubModelOf(model);
  if (page !== undefined) return page;
  const isThere = await stat(model).then(
    () => true,
    () => false,
  );
  if (isThere) return undefined;
  return isHubId(model) ? { repo: model, revision: undefined } : splitRevision(model);
}

/** Whether a revision can be given beside this model: it is on the hub, and its name says none. @throws UsageError */
export async function takesRevision(model: string): Promise<boolean> {
  const named = await hubModelIn(model);
  return named !== undefined && named.revision === undefined;
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
function revisionOf(named: HubModel | undefined, { model, revision }: LocateOptions): string | undefined {
  if (revision === undefined || named?.revision === undefined || named.revision === revision) {
    return revision ?? named?.revision;
  }
  throw new UsageError(`${model} is of ${named.revision}, but --revision is ${revision}. Leave one of them out.`);
}
