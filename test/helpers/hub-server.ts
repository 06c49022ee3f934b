// A hub on this machine: the part of the Hugging Face API that downloads use, with a second port as its CDN.
// It holds one repository, records every request, and can be told to fail in each way the real one does.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export interface HubServerOptions {
  /** Name to content. A name with a slash lies in a folder. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly repo?: string;
  /** Whether the repository is a data set. */
  readonly isDataset?: boolean;
  readonly commit?: string;
  /** Branches and tags that stand for the commit. */
  readonly revisions?: readonly string[];
  /** When set, requests without it are answered as for a private repository. */
  readonly token?: string;
  /** Entries of one page of the listing. */
  readonly pageSize?: number;
}

/** What the server does wrong; change it at any time. */
export interface HubFaults {
  /** Answer of the API. */
  api?: { status: number; code?: string; message?: string; body?: string };
  /** Answer to the download of files. */
  resolve?: { status: number; code?: string };
  /** Breaks the body of this file after `bytes` bytes, the first `times` times. */
  break?: { file: string; bytes: number; times: number };
  /** Adds bytes to the body of this file. */
  excess?: { file: string; bytes: number };
  /** Milliseconds between pieces of the body of this file. */
  slow?: { file: string; pieceBytes: number; pauseMs: number };
  /** Answers with the whole file where a part was asked for. */
  ignoreRange?: boolean;
  /** Lists this instead of the true hash. */
  listedHash?: { file: string; oid: string };
  /** Sends this as the commit. */
  sha?: unknown;
  /** Lists this instead of the true entries. */
  entries?: (entries: readonly object[]) => unknown;
  /** Sends this as a file's content, while the listing has the true size and hash. */
  content?: Readonly<Record<string, string | Uint8Array>>;
  /** Answers in place of everything else when it returns true. */
  answer?: (url: URL, response: ServerResponse, request: IncomingMessage) => boolean;
}

interface RecordedRequest {
  readonly server: "hub" | "cdn";
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

export interface HubServer {
  readonly endpoint: string;
  readonly repo: string;
  readonly commit: string;
  readonly requests: RecordedRequest[];
  readonly faults: HubFaults;
  /** The names of the files whose content was asked for, in order. */
  downloads(): string[];
  /** The name of a file's content in the cache. */
  etag(file: string): string;
  close(): Promise<void>;
}

const LARGE_FILE = /\.(?:safetensors|bin|gguf|model|parquet)$/;

/** Starts the hub on a free port of 127.0.0.1. */
export async function startHubServer(options: HubServerOptions): Promise<HubServer> {
  const { repo = "acme/tiny", commit = "c".repeat(40), revisions = ["main"], pageSize = 1000 } = options;
  const contents = new Map(Object.entries(options.files).map(([name, content]) => [name, Buffer.from(content)]));
  const api = options.isDataset ? "/api/datasets" : "/api/models";
  const files = options.isDataset ? "/datasets" : "";
  const requests: RecordedRequest[] = [];
  const faults: HubFaults = {};
  const etag = (name: string) => hashOf(name, contents.get(name) ?? Buffer.alloc(0));

  const record = (server: "hub" | "cdn", { method = "", url = "", headers }: IncomingMessage) => {
    requests.push({ server, method, path: url, authorization: headers.authorization, range: headers.range });
  };

  const cdn = createServer((request, response) => {
    record("cdn", request);
    const name = decodeURIComponent((request.url ?? "").split("/").at(-1) ?? "");
    // A signed address is refused when it comes with an Authorization header, as on the real one.
    if (request.headers.authorization !== undefined) return refuse(response, 400, "InvalidRequest");
    return void sendContent(request, response, name, {});
  });
  const cdnOrigin = await listen(cdn);

  const hub = createServer((request, response) => {
    record("hub", request);
    const url = new URL(request.url ?? "", endpoint);
    const isAllowed = options.token === undefined || request.headers.authorization === `Bearer ${options.token}`;
    if (faults.answer?.(url, response, request)) return;
    const [, revision = "", rest = ""] =
      new RegExp(`^(?:${api}|${files})/${repo}/(?:revision|tree|resolve)/([^/?]+)/?(.*)$`).exec(url.pathname) ?? [];
    const isApi = url.pathname.startsWith("/api/");
    if (isApi && faults.api) return refuse(response, faults.api.status, faults.api.code, faults.api);
    if (!isAllowed) {
      const sent = request.headers.authorization !== undefined;
      return refuse(response, 401, sent ? undefined : "RepoNotFound", {
        message: sent ? "Invalid credentials in Authorization header" : "Repository not found",
      });
    }
    if (revision === "") return refuse(response, 404, "RepoNotFound");
    if (![commit, ...revisions].includes(decodeURIComponent(revision))) {
      return refuse(response, 404, "RevisionNotFound");
    }
    if (url.pathname.startsWith(`${api}/${repo}/revision/`)) return sendModelInfo(response);
    if (url.pathname.startsWith(`${api}/${repo}/tree/`)) return sendListing(response, url);
    return sendFile(request, response, decodeURIComponent(rest));
  });
  const endpoint = await listen(hub);

  function sendModelInfo(response: ServerResponse): void {
    const siblings = [...contents.keys()].map((rfilename) => ({ rfilename }));
    const sha = "sha" in faults ? faults.sha : commit;
    sendJson(response, { _id: "1", id: repo, sha, siblings, private: false, gated: false, lastModified: 0 });
  }

  function sendListing(response: ServerResponse, url: URL): void {
    const isWhole = url.searchParams.get("recursive") === "true";
    const names = [...contents.keys()].filter((name) => isWhole || !name.includes("/"));
    const folders = new Set(
      [...contents.keys()].filter((name) => name.includes("/")).map((name) => name.split("/")[0]),
    );
    const entries = [
      ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
      ...names.map((path) => listedFile(path, contents.get(path) ?? Buffer.alloc(0))),
    ];
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const next = start + pageSize;
    if (next < entries.length) {
      url.searchParams.set("cursor", String(next));
      response.setHeader("link", `<${url.href}>; rel="next"`);
    }
    const page = entries.slice(start, next);
    sendJson(response, faults.entries ? faults.entries(page) : page);
  }

  function listedFile(path: string, content: Buffer): object {
    const oid = faults.listedHash?.file === path ? faults.listedHash.oid : etag(path);
    const file = { type: "file", oid, size: content.length, path };
    if (!LARGE_FILE.test(path)) return file;
    return { ...file, oid: gitHash(content), lfs: { oid, size: content.length, pointerSize: 134 } };
  }

  function sendFile(request: IncomingMessage, response: ServerResponse, name: string): void {
    const content = contents.get(name);
    response.setHeader("x-repo-commit", commit);
    if (faults.resolve) {
      refuse(response, faults.resolve.status, faults.resolve.code);
    } else if (content === undefined) {
      refuse(response, 404, "EntryNotFound");
    } else if (LARGE_FILE.test(name)) {
      response.setHeader("x-linked-etag", `"${etag(name)}"`);
      response.setHeader("x-linked-size", content.length);
      response.writeHead(302, { location: `${cdnOrigin}/signed/${encodeURIComponent(name)}` }).end();
    } else {
      void sendContent(request, response, name, { etag: `"${etag(name)}"` });
    }
  }

  async function sendContent(
    request: IncomingMessage,
    response: ServerResponse,
    name: string,
    headers: Record<string, string>,
  ): Promise<void> {
    const content = Buffer.from(faults.content?.[name] ?? contents.get(name) ?? "");
    const asked = faults.ignoreRange ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const start = Number(asked?.[1] ?? 0);
    const end = Math.min(content.length, asked?.[2] ? Number(asked[2]) + 1 : content.length);
    const excess = faults.excess?.file === name ? faults.excess.bytes : 0;
    const body = Buffer.concat([content.subarray(start, end), Buffer.alloc(excess)]);
    if (asked) response.setHeader("content-range", `bytes ${start}-${end - 1}/${content.length}`);
    response.writeHead(asked ? 206 : 200, { ...headers, "content-length": body.length, "accept-ranges": "bytes" });
    if (request.method === "HEAD") return void response.end();

    const broken = faults.break?.file === name && faults.break.times > 0 ? faults.break : undefined;
    if (broken) {
      broken.times--;
      response.write(body.subarray(0, broken.bytes));
      // Else the bytes on their way would be lost too.
      setTimeout(() => response.destroy(), 30);
      return;
    }
    const slow = faults.slow?.file === name ? faults.slow : undefined;
    const piece = slow?.pieceBytes ?? body.length;
    for (let at = 0; slow && at < body.length && !response.destroyed; at += piece) {
      response.write(body.subarray(at, at + piece));
      await pause(slow.pauseMs);
    }
    response.end(slow ? undefined : body);
  }

  return {
    endpoint,
    repo,
    commit,
    requests,
    faults,
    etag,
    downloads: () =>
      requests
        .filter(({ server, path }) => server === "hub" && path.includes("/resolve/"))
        .map(({ path }) => decodeURIComponent(path.split("/").at(-1) ?? "")),
    close: async () => void (await Promise.all([hub, cdn].map(stop))),
  };
}

function hashOf(name: string, content: Buffer): string {
  return LARGE_FILE.test(name) ? createHash("sha256").update(content).digest("hex") : gitHash(content);
}

function gitHash(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

function refuse(
  response: ServerResponse,
  status: number,
  code?: string,
  { message, body }: { message?: string; body?: string } = {},
): void {
  if (code !== undefined) response.setHeader("x-error-code", code);
  if (message !== undefined) response.setHeader("x-error-message", message);
  response.writeHead(status, { "content-type": body === undefined ? "application/json" : "text/html" });
  response.end(body ?? JSON.stringify({ error: message ?? code ?? "error" }));
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}
