// Decides which files of a repository belong to a checkpoint: the safetensors weights and the small files beside them.
// Looks at names and sizes alone; reads no file but the index of shards, and knows neither network nor cache.

import type { ListFileEntry } from "@huggingface/hub";
import { parseJsonObject } from "../checkpoint/open-checkpoint.js";
import { HubError } from "../errors.js";

/** A file at the root of the repository. */
export interface RepoFile {
  readonly name: string;
  readonly size: number;
  /** Name of its content in the cache: the sha256 of a large file, the git hash of a small one. */
  readonly etag: string;
}

/** The largest tokenizer.json we know has 35 MB and the largest index of shards 60 MB. */
const MAX_SIDE_FILE_BYTES = 200_000_000;

const SIDE_FILE =
  /\.(?:json|txt|model|jinja|py|md|tiktoken|spm|bpe|vocab)$|^(?:README|LICEN[CS]E|NOTICE|USE_POLICY)|^(?:vocab|merges)/i;
const WEIGHT_FILE = /\.(?:safetensors|bin|pth?|gguf|onnx|ort|h5|msgpack|ckpt|npz|data|tflite|mlmodel)$|\.onnx_data/i;

/** Neither a folder nor a drive can hide in such a name, on any system. */
const SAFE_NAME = /^(?!\.\.?$)[^/\\:]+$/;
const ETAG = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

const OTHER_HUB = "Check that HF_ENDPOINT is a Hugging Face hub.";
const OTHER_REPO = "Choose another revision or repository.";

/**
 * The file of one entry of the listing; undefined for a folder and for a name that is not to be trusted.
 * @throws HubError when its hash or size cannot be one
 */
export function toRepoFile(entry: ListFileEntry): RepoFile | undefined {
  const etag = entry.lfs?.oid ?? entry.oid ?? "";
  const size = entry.lfs?.size ?? entry.size;
  if (entry.type !== "file" || !SAFE_NAME.test(entry.path)) return undefined;
  // The etag becomes a file name in the cache.
  if (!ETAG.test(etag)) {
    throw new HubError(`${entry.path}: the hub lists it with the hash "${etag}", which is none. ${OTHER_HUB}`);
  }
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new HubError(`${entry.path}: the hub lists it with a size of ${JSON.stringify(size)}. ${OTHER_HUB}`);
  }
  return { name: entry.path, size, etag };
}

/** The small files that an engine or a reader needs beside the weights. */
export function selectSideFiles(files: readonly RepoFile[]): RepoFile[] {
  return files.filter(
    ({ name, size }) => SIDE_FILE.test(name) && size <= MAX_SIDE_FILE_BYTES && !WEIGHT_FILE.test(name),
  );
}

/**
 * The names of the shards that an index names, each once.
 * @throws CheckpointError when it is not JSON, HubError when it has no weight_map of safetensors beside it
 */
export function shardNames(path: string, indexText: string): string[] {
  const { weight_map: weightMap } = parseJsonObject(path, indexText);
  const names = typeof weightMap === "object" && weightMap !== null ? new Set<unknown>(Object.values(weightMap)) : [];
  const shards: string[] = [];
  for (const name of names) {
    if (typeof name !== "string" || !SAFE_NAME.test(name) || !name.endsWith(".safetensors")) {
      throw new HubError(
        `${path}: expected names of .safetensors files beside it, found ${JSON.stringify(name)}. ${OTHER_REPO}`,
      );
    }
    shards.push(name);
  }
  if (shards.length === 0)
    throw new HubError(`${path}: expected a "weight_map" from tensor names to file names. ${OTHER_REPO}`);
  return shards.sort();
}

/** What a repository without safetensors has instead, for the error message. */
export function describeOtherWeights(entries: readonly ListFileEntry[]): string {
  const folders = entries.filter(({ type }) => type === "directory").map(({ path }) => `${path}/`);
  const files = entries.filter(({ type }) => type === "file").map(({ path }) => path);
  const weights = files.filter((path) => WEIGHT_FILE.test(path));
  const names = weights.length > 0 ? [...weights, ...folders] : [...files, ...folders];
  const more = names.length > 8 ? ` and ${names.length - 8} more` : "";
  return names.length === 0 ? "no file at all" : names.slice(0, 8).join(", ") + more;
}
