// Asks the hub's API for the commit of a revision and the files at its root. Downloads no file and knows nothing of the
// cache.

import { datasetInfo, type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { KvScalesError, throwIfAborted } from "../errors.js";
import { createApiFetch } from "./api-fetch.js";
import { isCommit } from "./hub-cache.js";
import { errorOfContent, type HubQuestion, shown } from "./hub-errors.js";
import type { Fetch } from "./hub-fetch.js";
import type { HubLimits } from "./hub-limits.js";

/** How to reach the hub, the limits on its answers, and the signal to stop. */
export interface Hub {
  readonly question: HubQuestion;
  readonly hubFetch: Fetch;
  readonly limits: HubLimits;
  readonly signal: AbortSignal | undefined;
}

/** A file or folder as the hub lists it. Hash and sizes are unchecked. */
export interface ListedEntry {
  readonly type: string;
  readonly path: string;
  readonly size: unknown;
  readonly oid: unknown;
  /** Present for a file in large file storage. */
  readonly lfs: { readonly size: unknown; readonly oid: unknown } | undefined;
}

/** The present commit of the revision. @throws HubError */
export async function askCommit(hub: Hub): Promise<string> {
  const { question, signal } = hub;
  const { endpoint: hubUrl, repo: name, revision } = question;
  const { sha } = await understand(question, signal, () =>
    question.kind === "dataset"
      ? datasetInfo({ name, revision, hubUrl, fetch: createApiFetch(hub, "{"), additionalFields: ["sha"] })
      : modelInfo({ name, revision, hubUrl, fetch: createApiFetch(hub, "{"), additionalFields: ["sha"] }),
  );
  // The commit becomes a folder name in the cache.
  if (typeof sha !== "string" || !isCommit(sha)) {
    throw errorOfContent(question, `expected a commit of 40 hexadecimal digits, found ${shown(sha)}`);
  }
  if (isCommit(revision) && sha !== revision) {
    throw errorOfContent(question, `expected the commit that was asked for, found ${sha}`);
  }
  return sha;
}

/** The files and folders at the root of a commit, or at all depths. @throws HubError */
export async function listEntries(hub: Hub, revision: string, recursive = false): Promise<ListedEntry[]> {
  const { question, signal, limits } = hub;
  const { endpoint: hubUrl, repo: name } = question;
  return await understand(question, signal, async () => {
    const entries = new Map<string, ListedEntry>();
    // As an object: in a string, an organisation called "datasets" would be read as the kind of repository.
    const repo = { type: question.kind ?? "model", name } as const;
    for await (const item of listFiles({ repo, revision, hubUrl, recursive, fetch: createApiFetch(hub, "[") })) {
      const entry = toListedEntry(question, item);
      if (entries.has(entry.path)) throw errorOfContent(question, `the listing has ${shown(entry.path)} twice`);
      entries.set(entry.path, entry);
      if (entries.size > limits.listingEntries) {
        throw errorOfContent(question, `the listing has more than ${limits.listingEntries} files`);
      }
    }
    return [...entries.values()];
  });
}

/** Takes the needed fields of an entry, which may be any JSON. */
function toListedEntry(question: HubQuestion, item: Partial<ListFileEntry> | null): ListedEntry {
  const { type, path, size, oid, lfs } = item ?? {};
  if (typeof type !== "string" || typeof path !== "string") {
    throw errorOfContent(question, `expected entries with a type and a path in the listing, found ${shown(item)}`);
  }
  const isLarge = lfs !== undefined && lfs !== null;
  return { type, path, size, oid, lfs: isLarge ? { size: lfs.size, oid: lfs.oid } : undefined };
}

// The library does not catch errors of JSON.parse and property access when an answer is not the hub's.
async function understand<T>(
  question: HubQuestion,
  signal: AbortSignal | undefined,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    throwIfAborted(signal);
    if (cause instanceof KvScalesError) throw cause;
    throw errorOfContent(question, "the answer is damaged or not from the hub's API", cause);
  }
}
