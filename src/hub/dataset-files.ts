// Decides which files of a data set's repository hold a split, by their names alone, much as the datasets library does.
// Runs no script and reads no README; knows neither network nor cache.

import { UsageError } from "../errors.js";

export interface DatasetChoice {
  /** `train` unless told. */
  readonly split?: string | undefined;
  /** The folder of one configuration, where a data set has several. */
  readonly config?: string | undefined;
}

/** A file by its path in the repository, with slashes. */
export interface NamedFile {
  readonly name: string;
}

/** The first that a data set has is taken: the others hold the same. */
const KINDS = [".parquet", ".jsonl", ".json", ".txt"];

/** What lies beside the data. */
const NO_DATA =
  /(?:^|\/)(?:\..*|dataset_infos?\.json|dataset_dict\.json|state\.json|(?:readme|licen[cs]e|notice|requirements)\b[^/]*)$/i;

/** Other names of the usual splits. */
const SPLITS: Readonly<Record<string, readonly string[]>> = {
  train: ["train", "training"],
  validation: ["validation", "valid", "val", "dev", "eval", "evaluation"],
  test: ["test", "testing"],
};

const USUAL_SPLIT = Object.values(SPLITS).flat().join("|");

/** So many names are shown in a message. */
const SHOWN = 8;

/**
 * The files of a split, in the order of their names.
 * @param what the data set, for messages
 * @throws UsageError when there is none, or several configurations have it
 */
export function chooseDatasetFiles<File extends NamedFile>(
  what: string,
  files: readonly File[],
  { split = "train", config }: DatasetChoice,
): File[] {
  const kind = KINDS.find((extension) => files.some((file) => isData(file, extension)));
  if (kind === undefined) {
    throw new UsageError(
      `${what}: expected .parquet, .jsonl, .json or .txt files, found ${shownNames(files.map(({ name }) => name))}. The hub may have converted it: try --data-revision refs/convert/parquet.`,
    );
  }
  const data = files.filter((file) => isData(file, kind)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const inConfig = data.filter(({ name }) => (configOf(name) ?? "default") === chooseConfig(what, data, config));
  // Where no name says what it is, all is for training.
  const isNamed = inConfig.some(({ name }) => hasWord(withoutConfig(name), USUAL_SPLIT));
  if (!isNamed && split === "train") return inConfig;
  const words = (SPLITS[split] ?? [escaped(split)]).join("|");
  const chosen = inConfig.filter(({ name }) => hasWord(withoutConfig(name), words));
  if (chosen.length > 0) return chosen;
  throw new UsageError(
    `${what}: no file is of the split "${split}". Its files: ${shownNames(inConfig.map(({ name }) => name))}. Choose with --data-split.`,
  );
}

function chooseConfig(what: string, data: readonly NamedFile[], config: string | undefined): string {
  const known = [...new Set(data.map(({ name }) => configOf(name) ?? "default"))];
  if (config !== undefined) {
    if (known.includes(config)) return config;
    throw new UsageError(`${what}: has no configuration "${config}"; it has ${shownNames(known)} (--data-config).`);
  }
  const [only, ...others] = known;
  if (known.includes("default") || only === undefined) return "default";
  if (others.length === 0) return only;
  throw new UsageError(`${what}: has the configurations ${shownNames(known)}. Choose one with --data-config.`);
}

function isData({ name }: NamedFile, extension: string): boolean {
  return name.endsWith(extension) && !NO_DATA.test(name);
}

/** The folder at the top, unless it is named for a split or for data in general. */
function configOf(name: string): string | undefined {
  const [folder, ...inside] = name.split("/");
  if (folder === undefined || inside.length === 0 || folder === "data") return undefined;
  return hasWord(folder, USUAL_SPLIT) ? undefined : folder;
}

function withoutConfig(name: string): string {
  const config = configOf(name);
  return config === undefined ? name : name.slice(config.length + 1);
}

/** Whether one of the words stands in the text, apart from other letters. */
function hasWord(text: string, words: string): boolean {
  return new RegExp(`(?<![a-z])(?:${words})(?![a-z])`, "i").test(text);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}

function shownNames(names: readonly string[]): string {
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "";
  return names.slice(0, SHOWN).join(", ") + more || "none";
}
