// What kv_scales.json calls the inputs of a run: ids on the hub and base names, and the command that gives the same scales
// again. Never a path of this machine: the same input gives the same bytes wherever it lies.

import { realpath } from "node:fs/promises";
import { basename } from "node:path";
import { modelOfSnapshot } from "../checkpoint/hub-folders.js";
import type { CalibrationSettings } from "./calibrate-settings.js";
import { type DataName, SHIPPED_DATA } from "./read-data.js";

export interface ModelName {
  /** `org/name` of what came from the hub, else the folder's name. */
  readonly model: string;
  /** Of what came from the hub: what its revision stood for. */
  readonly commit: string | undefined;
}

/** @param folder where the checkpoint lies, as a whole path */
export async function modelName(folder: string): Promise<ModelName> {
  const real = await realpath(folder).catch(() => folder);
  const repo = /^[0-9a-f]{40}$/.test(basename(real)) ? modelOfSnapshot(real)?.repo : undefined;
  return repo === undefined ? { model: basename(folder), commit: undefined } : { model: repo, commit: basename(real) };
}

/** A checkpoint as `--onto` names it: the revision of a hub id is a part of it. */
export function ontoOf({ model, commit }: ModelName): string {
  return commit === undefined ? model : `${model}@${commit}`;
}

interface RunNames extends ModelName {
  /** As `--onto` has it. */
  readonly onto?: string | undefined;
}

export interface CommandFacts extends RunNames, DataName, Omit<CalibrationSettings, "provider"> {
  /** The one that computed. */
  readonly provider: string;
  readonly assumeHarmless: readonly string[];
}

/** The command line of a calibration: every option that changes scales, defaults too, since those may change. */
export function commandOf(facts: CommandFacts): string {
  const { headroom, serving, data, samples, sequenceLength, seed, provider, assumeHarmless } = facts;
  // With a factor and all prompts, levels are only reported.
  const needsLevels = headroom === "auto" || samples === "auto";
  const words = [
    ...["--headroom", String(headroom)],
    ...(needsLevels ? ["--serving-tokens", String(serving.tokens), "--exceedance", String(serving.exceedance)] : []),
    ...(data === SHIPPED_DATA ? [] : ["--data", data]),
    ...option("--data-revision", facts.dataCommit),
    ...option("--data-config", facts.dataConfig),
    ...option("--data-split", facts.dataSplit),
    ...option("--data-column", facts.dataColumn),
    ...["--samples", String(samples), "--sequence-length", String(sequenceLength), "--seed", String(seed)],
    ...["--provider", provider],
    ...assumeHarmless.flatMap((key) => ["--assume-harmless", key]),
  ];
  return [commandStart(facts), ...words.map(shellWord)].join(" ");
}

function option(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [name, value];
}

/** The same command for scales in another format. Undefined for a command that is not ours. */
export function commandWith(
  command: unknown,
  before: RunNames & { readonly format: string; readonly dtype: string },
  after: { readonly format: string; readonly dtype: string; readonly onto?: string | undefined },
): string | undefined {
  const start = commandStart(before);
  if (typeof command !== "string" || !command.startsWith(`${start} `)) return undefined;
  return commandStart({ ...before, ...after }) + command.slice(start.length);
}

function commandStart({
  model,
  commit,
  onto,
  format,
  dtype,
}: RunNames & { readonly format: string; readonly dtype: string }): string {
  const words = [
    ...["create-kv-scales", model],
    ...option("--revision", commit),
    ...option("--onto", onto),
    ...["--format", format, "--dtype", dtype],
  ];
  return words.map(shellWord).join(" ");
}

/** In quotes where a shell would read more than a name. */
function shellWord(text: string): string {
  return /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
