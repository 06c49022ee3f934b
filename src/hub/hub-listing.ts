// Asks the hub's API which commit a revision stands for and what lies at its root.
// Downloads no file and knows nothing of the cache.

import { type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { KvScalesError, throwIfAborted } from "../errors.js";
import { isCommit } from "./hub-cache.js";
import { errorOfContent, type HubQuestion } from "./hub-errors.js";
import type { Fetch } from "./hub-fetch.js";

/** How to reach the hub, and the signal to stop. */
export interface Hub {
  readonly question: HubQuestion;
  readonly hubFetch: Fetch;
  readonly signal: AbortSignal | undefined;
}

/** The commit that the revision stands for now. @throws HubError */
export async function askCommit({ question, hubFetch, signal }: Hub): Promise<string> {
  const { endpoint: hubUrl, repo: name, revision } = question;
  const { sha } = await understand(question, signal, () =>
    modelInfo({ name, revision, hubUrl, fetch: hubFetch, additionalFields: ["sha"] }),
  );
  // The commit becomes a folder name in the cache.
  if (typeof sha === "string" && isCommit(sha)) return sha;
  throw errorOfContent(question, `expected a commit of 40 hexadecimal digits, found ${JSON.stringify(sha)}`);
}

/** The files and folders at the root of a commit. @throws HubError */
export async function listRoot({ question, hubFetch, signal }: Hub, revision: string): Promise<ListFileEntry[]> {
  const { endpoint: hubUrl, repo: name } = question;
  return await understand(question, signal, async () => {
    const entries: ListFileEntry[] = [];
    // As an object: in a string, an organisation called "datasets" would be taken for the kind of repository.
    const repo = { type: "model", name } as const;
    for await (const entry of listFiles({ repo, revision, hubUrl, fetch: hubFetch })) entries.push(entry);
    return entries;
  });
}

// The library lets through what JSON.parse and property access throw when an answer is not the hub's.
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
    throw errorOfContent(question, "the answer is broken, or not one of the hub's API", cause);
  }
}
