// Turns every failure with the hub or the disk into a HubError that says what was requested, what came and what to do.
// Knows the hub's status codes and x-error-code headers; does not know who asks, or why.

import { HubError, messageOf } from "../errors.js";
import type { HubLimits } from "./hub-limits.js";

/** The request and its endpoint: the beginning of every message. */
export interface HubQuestion {
  readonly endpoint: string;
  readonly repo: string;
  /** A model, unless it says so. */
  readonly kind?: "dataset";
  readonly revision: string;
  readonly hasToken: boolean;
}

/** The connection ended in the middle of an answer. Requesting the rest may help. */
export class BrokenConnectionError extends HubError {}

/** Answers are quoted up to this length: they may have megabytes. */
const MAX_QUOTED = 100;

const TOKEN_HINT = "set HF_TOKEN to a token that may read it";

/** The error for an answer that is not a success. */
export function errorOfAnswer(question: HubQuestion, response: Response): HubError {
  const { endpoint, repo, kind, revision, hasToken } = question;
  const code = (response.headers.get("x-error-code") ?? "").slice(0, MAX_QUOTED);
  const came = [response.status, code].filter(Boolean).join(" ");
  const fail = (text: string) => new HubError(`${asked(question)}, got ${came}: ${text}`);
  const { status } = response;

  if (code === "GatedRepo") {
    const login = hasToken ? "make sure HF_TOKEN belongs to the account that accepted it" : TOKEN_HINT;
    return fail(
      `the ${kind === undefined ? "model" : "data set"} is gated. Accept its licence at ${pageOf(question)} and ${login}.`,
    );
  }
  if (code === "RevisionNotFound") {
    return fail(
      `the repository has no revision "${revision}". Its branches and tags: ${pageOf(question)}/tree/main; without --${kind === undefined ? "" : "data-"}revision, "main" is used.`,
    );
  }
  if (code === "EntryNotFound") {
    return fail(`${fileOf(response)} was listed but is no longer there. The repository has just changed: run again.`);
  }
  if (status === 401 && hasToken && code !== "RepoNotFound") {
    return fail(`the hub refuses the token. Make a new one at ${endpoint}/settings/tokens and put it in HF_TOKEN.`);
  }
  if (status === 401 || status === 404 || code === "RepoNotFound") {
    const next = hasToken ? "check that your token may read it" : TOKEN_HINT;
    return fail(`no such repository, or it is private. Check the spelling of "${repo}"; if it is private, ${next}.`);
  }
  if (status === 403) return fail(`access is denied${said(response)}. Check what your token may read.`);
  if (status === 429) return fail("too many requests. Wait some minutes; with HF_TOKEN set the limit is higher.");
  if (status >= 500) return fail(`the hub has trouble${said(response)}. Try again later.`);
  return fail(`an unknown answer${said(response)}. Check HF_ENDPOINT.`);
}

/** The error for a request that got no answer at all. */
export function errorOfNetwork(question: HubQuestion, cause: unknown): HubError {
  const way =
    "Check the network, the proxy and HF_ENDPOINT; with HF_HUB_OFFLINE=1 a model that is already in the cache is used without the network.";
  return new HubError(`${asked(question)}: no connection (${innermostMessage(cause)}). ${way}`, { cause });
}

/** The error for an answer that is too short or too long. */
export function errorOfBody(question: HubQuestion, file: string, size: number, received: number, cause?: unknown) {
  const reason = cause === undefined ? "" : ` (${innermostMessage(cause)})`;
  return new BrokenConnectionError(
    `${asked(question)}: the connection broke in ${file}: ${received} of ${size} bytes came${reason}. Run again: complete files are kept.`,
    { cause },
  );
}

/** The error for a file that comes too slowly or stalls. */
export function errorOfPace(question: HubQuestion, file: string, size: number, received: number, limits: HubLimits) {
  const pace = `fewer than ${limits.paceBytes} bytes came in ${limits.paceMs / 1000} seconds`;
  return new BrokenConnectionError(
    `${asked(question)}: ${file} stalled after ${received} of ${size} bytes: ${pace}. Check the network, then run again: complete files are kept.`,
  );
}

/** The error for an answer of the API that does not end. */
export function errorOfDeadline(question: HubQuestion, ms: number): HubError {
  return new HubError(
    `${asked(question)}: no complete answer within ${ms / 1000} seconds. Check the network and HF_ENDPOINT, or try again later.`,
  );
}

/** The error for a file whose content is not what the listing says. */
export function errorOfHash(question: HubQuestion, file: string, hash: string, expected: string, found: string) {
  return new HubError(
    `${asked(question)}: ${file}: expected content with the ${hash} ${expected}, found ${found}. It was not kept. Run again; if this happens again, a proxy, a mirror or HF_ENDPOINT serves other content than the hub lists.`,
  );
}

/** The error for an answer that is not of the hub's API. */
export function errorOfContent(question: HubQuestion, found: string, cause?: unknown): HubError {
  return new HubError(`${asked(question)}: ${found}. Check that HF_ENDPOINT is a Hugging Face hub.`, { cause });
}

/** Works with a file of the cache. @throws HubError when the file system fails */
export async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const full = ["ENOSPC", "EDQUOT"].includes((cause as NodeJS.ErrnoException).code ?? "");
    const found = full ? "the disk is full" : "cannot be written";
    const next = full ? "Make room" : "Check the path and its permissions";
    // A path may have thousands of characters, and the system's message repeats it.
    const shortened = (text: string) => (text.length > 1000 ? `${text.slice(0, MAX_QUOTED)}…` : text);
    throw new HubError(
      `${shortened(path)}: ${found} (${shortened(messageOf(cause))}). ${next}, or point HF_HUB_CACHE to a folder on another disk.`,
      { cause },
    );
  }
}

/** `Asked <endpoint> for <repo> (revision <revision>)`. */
export function asked({ endpoint, repo, kind, revision }: HubQuestion): string {
  return `Asked ${endpoint} for ${kind === undefined ? "" : "the data set "}${repo} (revision ${revision})`;
}

/** The address of a repository's page, and the beginning of its files' addresses. */
export function pageOf({ endpoint, repo, kind }: Pick<HubQuestion, "endpoint" | "repo" | "kind">): string {
  return `${endpoint}/${kind === undefined ? "" : "datasets/"}${repo}`;
}

/** Any value of an answer, as JSON of limited length. */
export function shown(value: unknown): string {
  const text = toJson(value) ?? "nothing";
  return text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text;
}

/** Thousands of nested lists exhaust the stack. */
function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return "lists within lists";
  }
}

function fileOf(response: Response): string {
  const name = URL.canParse(response.url) ? new URL(response.url).pathname.split("/").at(-1) : undefined;
  return name?.slice(0, MAX_QUOTED) || "A file";
}

function said(response: Response): string {
  const message = response.headers.get("x-error-message")?.slice(0, 3 * MAX_QUOTED);
  return message ? `: ${message}` : "";
}

/** fetch() says only "fetch failed"; its causes give the reason. */
function innermostMessage(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  // Several addresses were tried: an AggregateError, whose own message is empty.
  const code = (inner as NodeJS.ErrnoException | undefined)?.code;
  const message = messageOf(inner);
  if (message === "") return code ?? "unknown reason";
  return code === undefined || message.includes(code) ? message : `${code}: ${message}`;
}
