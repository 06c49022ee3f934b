// From what the user calls a model to a folder on disk: a folder as it is, a hub id through the hub's cache, nothing for
// the embedded example. Decides where the result goes by default.

import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "../errors.js";
import type { DownloadProgress } from "../hub/download-files.js";
import { isHubId } from "../hub/hub-id.js";
import type { ModelOptions } from "./run-options.js";

/** The tiny trained Llama that ships with the package. */
export const EMBEDDED_EXAMPLE = fileURLToPath(new URL("../../examples/tiny-llama", import.meta.url));

export interface LocateOptions extends ModelOptions {
  readonly inPlace?: boolean | undefined;
  readonly onProgress?: ((progress: { readonly stage: "download" } & DownloadProgress) => void) | undefined;
}

export interface LocatedModel {
  readonly folder: string;
  /** A path, from the current folder. */
  readonly defaultOutput: string;
}

/** @throws UsageError for options that do not go together, HubError and what else the download throws */
export async function locateModel(options: LocateOptions): Promise<LocatedModel> {
  const { model, revision, signal, onProgress } = options;
  const isFolder = await stat(model).then(
    () => true,
    () => false,
  );
  if (isFolder || !isHubId(model)) {
    if (revision !== undefined) throw new UsageError(`--revision goes with a hub id (org/name); ${model} is a folder`);
    return { folder: resolve(model), defaultOutput: outputBeside(resolve(model)) };
  }
  if (options.inPlace) {
    throw new UsageError(`--in-place would change the hub's cache, which other programs share. Leave it out.`);
  }
  // Loaded here alone: a run without a hub id needs none of it.
  const { downloadCheckpoint } = await import("../hub/download-checkpoint.js");
  const folder = await downloadCheckpoint({
    repo: model,
    revision,
    signal,
    onProgress: (progress) => onProgress?.({ stage: "download", ...progress }),
  });
  return { folder, defaultOutput: `${basename(model)}-FP8-KV` };
}

/** The result of the embedded example goes where the user is, not into the package. */
function outputBeside(folder: string): string {
  const name = `${basename(folder)}-FP8-KV`;
  return folder === EMBEDDED_EXAMPLE ? name : join(dirname(folder), name);
}
