// Decides which files of a repository belong to a checkpoint: the safetensors weights and the small files beside them.
// Looks only at names and sizes; reads no file but the index of shards. Does not know the network or the cache.

import { parseJsonObject } from "../checkpoint/json-text.js";
import { HubError } from "../errors.js";
import { asked, type HubQuestion, shown } from "./hub-errors.js";
import type { HubLimits } from "./hub-limits.js";
import type { ListedEntry } from "./hub-listing.js";

/** A file of the repository. */
export interface RepoFile {
  /** With slashes where it lies in a folder. */
  readonly name: string;
  readonly size: number;
  /** Name of its content in the cache: the SHA-256 of a large file, the git hash of a small one. */
  readonly etag: string;
}

const SIDE_FILE =
  /\.(?:json|txt|model|jinja|py|md|tiktoken|spm|bpe|vocab)$|^(?:README|LICEN[CS]E|NOTICE|USE_POLICY)|^(?:vocab|merges)/i;
const WEIGHT_FILE = /\.(?:safetensors|bin|pth?|gguf|onnx|ort|h5|msgpack|ckpt|npz|data|tflite|mlmodel)$|\.onnx_data/i;

/** Such a name cannot contain a folder or a drive on any system. */
const SAFE_NAME = /^(?!\.\.?$)[^/\\:*?"<>|\p{Cc}\p{Cs}\u2028\u2029]+(?<![. ])$/u;
const WINDOWS_DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;
/** The longest name that common file systems allow. */
const MAX_NAME_BYTES = 255;

/** Deeper than any data set lies. */
const MAX_DEPTH = 8;

const SHA256 = /^[0-9a-f]{64}$/;
const GIT_HASH = /^[0-9a-f]{40}$/;

const OTHER_HUB = "Check that HF_ENDPOINT is a Hugging Face hub.";
const OTHER_REPO = "Choose another revision or repository.";

/**
 * The file of one entry of the listing; undefined for a folder and for an unsafe name.
 * @throws HubError when its hash or size is not valid
 */
export function toRepoFile(entry: ListedEntry): RepoFile | undefined {
  return isSafeName(entry.path) ? toFile(entry) : undefined;
}

/** The same for a file at any depth. */
export function toNestedFile(entry: ListedEntry): RepoFile | undefined {
  const folders = entry.path.split("/");
  return folders.length <= MAX_DEPTH && folders.every(isSafeName) ? toFile(entry) : undefined;
}

function toFile({ type, path, oid, size, lfs }: ListedEntry): RepoFile | undefined {
  if (type !== "file") return undefined;
  const etag = lfs === undefined ? oid : lfs.oid;
  const bytes = lfs === undefined ? size : lfs.size;
  // The etag becomes a file name in the cache, and the content is checked against it.
  if (typeof etag !== "string" || !(lfs === undefined ? GIT_HASH : SHA256).test(etag)) {
    const expected = lfs === undefined ? "the 40 digits of a git hash" : "the 64 digits of a sha256";
    throw new HubError(`${path}: expected ${expected} in the hub's listing, found ${shown(etag)}. ${OTHER_HUB}`);
  }
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0) {
    throw new HubError(`${path}: the hub lists it with a size of ${shown(bytes)}. ${OTHER_HUB}`);
  }
  return { name: path, size: bytes, etag };
}

function isSafeName(name: string): boolean {
  return SAFE_NAME.test(name) && !WINDOWS_DEVICE.test(name) && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}

/**
 * The small files that an engine or a reader needs beside the weights.
 * @throws HubError when they are more than any checkpoint has
 */
export function selectSideFiles(question: HubQuestion, files: readonly RepoFile[], limits: HubLimits): RepoFile[] {
  const side = files.filter(
    ({ name, size }) => SIDE_FILE.test(name) && size <= limits.sideFileBytes && !WEIGHT_FILE.test(name),
  );
  const bytes = side.reduce((sum, { size }) => sum + size, 0);
  if (side.length <= limits.sideFiles && bytes <= limits.sideBytes) return side;
  throw new HubError(
    `${asked(question)}: it has ${side.length} small files of ${bytes} bytes beside the weights; at most ${limits.sideFiles} of ${limits.sideBytes} bytes are downloaded. Download what the checkpoint needs into a folder, and give that.`,
  );
}

/**
 * The shards that an index names, each once.
 * @throws CheckpointError when it is not JSON, HubError when it has no weight_map of safetensors beside it
 */
export function shardNames(path: string, indexText: string): string[] {
  const { weight_map: weightMap } = parseJsonObject(path, indexText);
  const names = typeof weightMap === "object" && weightMap !== null ? new Set<unknown>(Object.values(weightMap)) : [];
  const shards: string[] = [];
  for (const name of names) {
    if (typeof name !== "string" || !isSafeName(name) || !name.endsWith(".safetensors")) {
      throw new HubError(
        `${path}: expected names of .safetensors files beside it, found ${shown(name)}. ${OTHER_REPO}`,
      );
    }
    shards.push(name);
  }
  if (shards.length === 0)
    throw new HubError(`${path}: expected a "weight_map" from tensor names to file names. ${OTHER_REPO}`);
  return shards.sort();
}

/** What a repository without safetensors contains instead, for the error message. */
export function describeOtherWeights(entries: readonly ListedEntry[]): string {
  const folders = entries.filter(({ type }) => type === "directory").map(({ path }) => `${path}/`);
  const files = entries.filter(({ type }) => type === "file").map(({ path }) => path);
  const weights = files.filter((path) => WEIGHT_FILE.test(path));
  const names = weights.length > 0 ? [...weights, ...folders] : [...files, ...folders];
  const more = names.length > 8 ? ` and ${names.length - 8} more` : "";
  return names.length === 0 ? "no file at all" : names.slice(0, 8).map(shortened).join(", ") + more;
}

function shortened(name: string): string {
  return name.length > 80 ? `${name.slice(0, 80)}…` : name;
}
