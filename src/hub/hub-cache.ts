// The hub's settings in the environment (cache folder, endpoint, token, offline) and the paths of snapshots in the
// cache, by the rules of Python's huggingface_hub, so that both share one cache. Reads the cache, never writes it.
// Knows nothing of the network.

import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join, sep } from "node:path";
import { getRepoFolderName, HUB_URL, REGEX_COMMIT_HASH } from "@huggingface/hub";
import { HubError, messageOf, UsageError } from "../errors.js";
import { shown } from "./hub-errors.js";

/** An address to which a path can be appended. */
const ENDPOINT = /^https?:\/\/[^\s\p{Cc}?#\\]+$/iu;
const MAX_ENDPOINT_LENGTH = 500;

/** Far longer than any token or reference. */
const MAX_SMALL_FILE_BYTES = 10_000;

export type Environment = Readonly<Record<string, string | undefined>>;

/** The folder that holds the cached repositories. */
export function hubCacheFolder(env: Environment): string {
  const folder = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE;
  return folder ? expandHome(folder, env) : join(hubHomeFolder(env), "hub");
}

/** Whether the user forbids the network. */
export function isOffline(env: Environment): boolean {
  return isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE);
}

/** The hub's address, without a slash at its end. @throws UsageError when HF_ENDPOINT is not an http(s) address. */
export function hubEndpoint(env: Environment): string {
  const endpoint = (env.HF_ENDPOINT?.trim() || HUB_URL).replace(/(?<!\/)\/+$/, "");
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url !== undefined && `${url.username}${url.password}` !== "") {
    // Messages name the endpoint, and land in logs.
    throw new UsageError("HF_ENDPOINT: expected an address without a user name or password. Put a token in HF_TOKEN.");
  }
  if (url === undefined || endpoint.length > MAX_ENDPOINT_LENGTH || !ENDPOINT.test(endpoint)) {
    throw new UsageError(`HF_ENDPOINT: expected an address such as ${HUB_URL}, found ${shown(endpoint)}.`);
  }
  return endpoint;
}

/**
 * The token to send to the endpoint, if there is one: HF_TOKEN, else the file that `hf auth login` writes.
 * @throws HubError when the token file cannot be read or the token has characters that no token has
 */
export async function hubToken(env: Environment): Promise<string | undefined> {
  if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const fromEnvironment = cleanToken(env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN);
  if (fromEnvironment !== undefined) return checkToken(fromEnvironment, "HF_TOKEN");
  const file = env.HF_TOKEN_PATH ? expandHome(env.HF_TOKEN_PATH, env) : join(hubHomeFolder(env), "token");
  const fromFile = cleanToken(await readIfPresent(file));
  return fromFile === undefined ? undefined : checkToken(fromFile, file);
}

/** The folder of one repository in the cache: `models--org--name`, `datasets--org--name`. */
export function repoCacheFolder(cacheFolder: string, repo: string, type: "model" | "dataset" = "model"): string {
  return join(cacheFolder, getRepoFolderName({ type, name: repo }));
}

/** The folder of one commit's files. */
export function snapshotFolder(repoFolder: string, commit: string): string {
  return join(repoFolder, "snapshots", commit);
}

/** The commit of a revision when it was last downloaded; a commit is itself. */
export async function cachedCommit(repoFolder: string, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const commit = (await readIfPresent(join(repoFolder, "refs", revision)))?.trim();
  return commit !== undefined && isCommit(commit) ? commit : undefined;
}

/** Whether `text` is a full commit hash, not a branch or tag. */
export function isCommit(text: string): boolean {
  return REGEX_COMMIT_HASH.test(text);
}

/** The size of the file at `path`, links followed; undefined when there is none. */
export async function fileSize(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}

function hubHomeFolder(env: Environment): string {
  if (env.HF_HOME) return expandHome(env.HF_HOME, env);
  return join(
    env.XDG_CACHE_HOME ? expandHome(env.XDG_CACHE_HOME, env) : join(homeFolder(env), ".cache"),
    "huggingface",
  );
}

function homeFolder(env: Environment): string {
  return env.HOME || env.USERPROFILE || homedir();
}

function expandHome(path: string, env: Environment): string {
  return path === "~" || path.startsWith("~/") || path.startsWith(`~${sep}`)
    ? join(homeFolder(env), path.slice(1))
    : path;
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && ["1", "ON", "YES", "TRUE"].includes(value.toUpperCase());
}

function cleanToken(text: string | undefined): string | undefined {
  return text?.replace(/[\r\n]/g, "").trim() || undefined;
}

function checkToken(token: string, source: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new HubError(`${source}: holds spaces or characters that no hub token has. Copy the token again.`);
}

/**
 * The text of a token file or reference; undefined when there is none.
 * @throws HubError when it is no plain file, too large, or cannot be read
 */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    // Reading a pipe or a device would never end.
    const found = await stat(path);
    if (found.isDirectory()) return undefined;
    if (!found.isFile()) throw new Error("it is not a plain file");
    if (found.size > MAX_SMALL_FILE_BYTES) throw new Error(`${found.size} bytes are too many for such a file`);
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new HubError(`${path}: cannot be read: ${messageOf(cause)}. Replace it with a file that you may read.`, {
      cause,
    });
  }
}
