// The address of a model's page on the hub, as people copy it from a browser: which repository and which revision it names.
// Asks no network.

import { UsageError } from "../errors.js";
import { isHubId, isRevision } from "./hub-id.js";

export interface HubModel {
  /** `org/name`. */
  readonly repo: string;
  /** Undefined for the page of the model itself. */
  readonly revision: string | undefined;
}

/** Hosts of the hub, beside that of HF_ENDPOINT. */
const HUB_HOSTS: readonly string[] = ["huggingface.co", "www.huggingface.co", "hf.co"];
/** Pages of a repository that name a revision: `/org/name/tree/<revision>`. */
const PAGES_OF_A_REVISION: readonly string[] = ["tree", "blob", "raw", "resolve", "commit", "commits"];
const OTHER_REPOSITORIES: Readonly<Record<string, string>> = { datasets: "a data set", spaces: "a space" };

/**
 * Reads an address such as `https://huggingface.co/org/name/tree/main`.
 * @param env for HF_ENDPOINT, whose pages are the hub's, too
 * @returns undefined for what is no web address
 * @throws UsageError for one that names no model
 */
export function hubModelOf(text: string, env: NodeJS.ProcessEnv = process.env): HubModel | undefined {
  if (!/^https?:\/\//i.test(text)) return undefined;
  const url = parseUrl(text);
  const hosts = [...HUB_HOSTS, parseUrl(env.HF_ENDPOINT?.trim() ?? "")?.host];
  if (url === undefined || !hosts.includes(url.host)) {
    throw new UsageError(`${text}: expected a folder, a hub id (org/name) or its page on https://huggingface.co`);
  }
  const [org = "", name = "", page, ...rest] = partsOf(url);
  const other = Object.hasOwn(OTHER_REPOSITORIES, org) ? OTHER_REPOSITORIES[org] : undefined;
  if (other !== undefined) throw new UsageError(`${text}: is ${other}, not a model. Give a model's page or hub id.`);
  const repo = `${org}/${name}`;
  if (!isHubId(repo))
    throw new UsageError(`${text}: expected the page of a model, such as https://huggingface.co/org/name`);
  if (page === undefined || !PAGES_OF_A_REVISION.includes(page)) return { repo, revision: undefined };
  const { revision, inside } = revisionOf(rest);
  if (!isRevision(revision))
    throw new UsageError(`${text}: "${revision}" names no revision. Give the hub id and --revision.`);
  if (page === "tree" && inside.length > 0) {
    throw new UsageError(`${text}: names a folder inside the repository. Only its top is read: give ${repo}`);
  }
  return { repo, revision };
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function partsOf({ pathname }: URL): string[] {
  return pathname.split("/").filter((part) => part !== "");
}

/** A revision with slashes is written with %2F, but for references such as refs/pr/1. */
function revisionOf(parts: readonly string[]): { revision: string; inside: readonly string[] } {
  const count = parts[0] === "refs" ? 3 : 1;
  return { revision: parts.slice(0, count).map(decoded).join("/"), inside: parts.slice(count) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
