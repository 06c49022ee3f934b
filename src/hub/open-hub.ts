// The way to a repository of the hub: names that can be ones, the repository's place in the cache, and what questions about
// it need. Asks nothing by itself, and does not know which files are wanted.

import { resolve } from "node:path";
import { throwIfAborted, UsageError } from "../errors.js";
import type { OnProgress } from "./download-files.js";
import { type Environment, hubCacheFolder, hubEndpoint, hubToken, isOffline, repoCacheFolder } from "./hub-cache.js";
import type { HubQuestion } from "./hub-errors.js";
import { createHubFetch, type Fetch } from "./hub-fetch.js";
import { isHubId, isRevision } from "./hub-id.js";
import { HUB_LIMITS, type HubLimits } from "./hub-limits.js";
import type { Hub } from "./hub-listing.js";

export interface DownloadOptions {
  /** `org/name` */
  readonly repo: string;
  /** A branch, a tag, `refs/pr/1` or a commit; default: "main". */
  readonly revision?: string | undefined;
  /** The environment with HF_HOME, HF_TOKEN and others; default: the process's. */
  readonly env?: Environment | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** Replaces the global fetch, for a proxy. It must drop `authorization` on redirects to another origin. */
  readonly fetch?: Fetch | undefined;
  /** Replaces the limits on answers. */
  readonly limits?: Partial<HubLimits> | undefined;
}

export interface OpenedHub {
  /** The repository's folder in the cache. */
  readonly repoFolder: string;
  readonly revision: string;
  /** Undefined where the environment forbids the network: then there is the cache alone. */
  readonly hub: Hub | undefined;
}

/**
 * Prepares questions about a repository.
 * @throws UsageError for an invalid name, HubError for an endpoint or a token that cannot be used, InterruptedError
 */
export async function openHub(options: DownloadOptions, kind?: HubQuestion["kind"]): Promise<OpenedHub> {
  const { repo, revision = "main", env = process.env, signal } = options;
  if (!isHubId(repo)) {
    const what = kind === undefined ? "a model" : "a data set";
    throw new UsageError(`"${repo}": expected the name of ${what} on the hub, such as org/name.`);
  }
  if (!isRevision(revision)) throw new UsageError(`Revision "${revision}": expected a branch, a tag or a commit.`);
  throwIfAborted(signal);
  const repoFolder = repoCacheFolder(resolve(hubCacheFolder(env)), repo, kind);
  if (isOffline(env)) return { repoFolder, revision, hub: undefined };
  const token = await hubToken(env);
  const hasToken = token !== undefined;
  const question: HubQuestion = { endpoint: hubEndpoint(env), repo, ...(kind && { kind }), revision, hasToken };
  const hubFetch = createHubFetch({ question, token, signal, fetch: options.fetch ?? fetch });
  return { repoFolder, revision, hub: { question, hubFetch, signal, limits: { ...HUB_LIMITS, ...options.limits } } };
}
