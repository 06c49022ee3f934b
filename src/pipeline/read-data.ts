// Reads prompts from an existing path, or from a data set on the hub. Returns the data's name for the record, and
// whether all of it was read.

import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { UsageError } from "../errors.js";
import type { DownloadProgress } from "../hub/download-files.js";
import { isHubId } from "../hub/hub-id.js";
import { untilInterrupted } from "../interrupts.js";
import type { Prompt } from "../prompts/prompt-rows.js";
import { readFirstPrompts, readPrompts } from "../prompts/read-prompts.js";
import type { DataOptions } from "./run-options.js";

/** Replaces a data file's name. */
export const SHIPPED_DATA = "shipped";

/** The data in a record. */
export interface DataName {
  /** `org/name` of a data set from the hub, the base name of a file or folder, or "shipped". */
  readonly data: string;
  /** The commit of a data set from the hub. */
  readonly dataCommit?: string | undefined;
  readonly dataConfig?: string | undefined;
  readonly dataSplit?: string | undefined;
  readonly dataColumn?: string | undefined;
}

export interface ReadData {
  readonly prompts: readonly Prompt[];
  readonly name: DataName;
  readonly warnings: readonly string[];
}

interface Reading extends DataOptions {
  /** The path of the shipped prompts. */
  readonly shipped: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { readonly stage: "download" } & DownloadProgress) => void) | undefined;
}

/**
 * Reads the prompts of a run.
 * @param env with HF_HOME and others; the process's by default
 * @throws PromptDataError, UsageError for options that do not go together, HubError and what else a download throws
 */
export async function readData(options: Reading, env?: NodeJS.ProcessEnv): Promise<ReadData> {
  const { data, dataColumn, shipped, signal } = options;
  const isPath = data !== undefined && (await isThere(data));
  if (data !== undefined && !isPath && isHubId(data)) return readHubData(data, options, env);
  refuseHubOptions(options, data);
  const prompts = await untilInterrupted(signal, readPrompts(data ?? shipped, { column: dataColumn }));
  const name = data === undefined ? SHIPPED_DATA : basename(resolve(data));
  return { prompts, name: { data: name, ...(dataColumn !== undefined && { dataColumn }) }, warnings: [] };
}

async function readHubData(repo: string, options: Reading, env: NodeJS.ProcessEnv | undefined): Promise<ReadData> {
  const { dataRevision, dataConfig, dataSplit, dataColumn, signal, onProgress } = options;
  // Loaded only here: a run without a hub id does not need it.
  const { downloadDataset } = await import("../hub/download-dataset.js");
  const { commit, files, isWhole } = await downloadDataset({
    ...{ repo, revision: dataRevision, config: dataConfig, split: dataSplit, env, signal },
    onProgress: (progress) => onProgress?.({ stage: "download", ...progress }),
  });
  const read = await untilInterrupted(signal, readFirstPrompts(repo, files, { column: dataColumn }));
  const isAll = isWhole && read.isWhole;
  return {
    prompts: read.prompts,
    name: { data: repo, dataCommit: commit, dataConfig, dataSplit: dataSplit ?? "train", dataColumn },
    warnings: isAll
      ? []
      : [
          `The data set ${repo} is larger than what is read at most: prompts are from its first ${read.prompts.length} rows.`,
        ],
  };
}

function refuseHubOptions({ dataRevision, dataConfig, dataSplit }: DataOptions, data: string | undefined): void {
  const given = { revision: dataRevision, config: dataConfig, split: dataSplit };
  const [odd] = Object.entries(given).filter(([, value]) => value !== undefined);
  if (odd === undefined) return;
  const found = data === undefined ? "without --data, the shipped prompts are used" : `${data} is not one`;
  throw new UsageError(`--data-${odd[0]} goes with a data set on the hub (--data org/name); ${found}`);
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
