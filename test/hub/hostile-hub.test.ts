// Whatever answers at HF_ENDPOINT, a download ends with one clear error, within its limits, and the cache holds nothing
// under a hash that it does not have.

import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGzip, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HubError, InterruptedError } from "../../src/errors.js";
import { downloadCheckpoint } from "../../src/hub/download-checkpoint.js";
import type { DownloadOptions } from "../../src/hub/open-hub.js";
import { type HubFaults, type HubServer, startHubServer } from "../helpers/hub-server.js";

const FILES = {
  "config.json": '{"model_type":"llama"}',
  "empty.txt": "",
  "model.safetensors": "x".repeat(5000),
  "tokenizer.json": "t".repeat(3000),
};

let home: string;
let server: HubServer;

const folderInCache = (name: string) => join(home, "hub", "models--acme--tiny", name);
const download = ({ limits, ...more }: Partial<DownloadOptions> = {}) =>
  downloadCheckpoint({
    repo: server.repo,
    env: { HF_HOME: home, HF_ENDPOINT: server.endpoint },
    limits: { retryMs: 5, ...limits },
    ...more,
  });

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "hub-"));
  server = await startHubServer({ files: FILES });
});
afterEach(async () => {
  await expectCacheOfTrueHashes();
  await server.close();
  await rm(home, { recursive: true });
});

async function expectCacheOfTrueHashes(): Promise<void> {
  for (const name of await readdir(folderInCache("blobs")).catch(() => [])) {
    const content = await readFile(join(folderInCache("blobs"), name));
    const git = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
    const sha256 = createHash("sha256").update(content).digest("hex");
    expect([git, sha256], `${name} has another hash`).toContain(name);
  }
}

async function expectRefusal(says: RegExp, more: Partial<DownloadOptions> = {}): Promise<void> {
  const error = await download(more).catch((thrown: unknown) => thrown);
  if (!(error instanceof HubError)) throw new Error(`expected a HubError, got ${String(error)}`);
  expect(error.message).toMatch(says);
  expect(error.message.length).toBeLessThan(700);
  expect(await readdir(folderInCache("refs")).catch(() => [])).toEqual([]);
}

interface Row {
  readonly what: string;
  readonly faults: HubFaults;
  readonly limits?: DownloadOptions["limits"];
  readonly says: RegExp;
}

const answerOnly = (part: string, answer: (response: ServerResponse, url: URL) => void): HubFaults => ({
  answer: (url, response) => {
    if (url.pathname.includes(part)) answer(response, url);
    return url.pathname.includes(part);
  },
});
const json = (part: string, text: string) => answerOnly(part, (response) => response.end(text));
/** An empty page, and where the next one is. */
const next = (target: (url: URL) => string) =>
  answerOnly("/tree/", (response, url) => {
    response.setHeader("link", `<${target(url)}>; rel="next"`);
    response.end("[]");
  });
const changed = (name: string, change: object): HubFaults => ({
  entries: (entries) =>
    entries.map((entry) => ("path" in entry && entry.path === name ? { ...entry, ...change } : entry)),
});
const added = (...more: unknown[]): HubFaults => ({ entries: (entries) => [...more, ...entries] });
const file = { type: "file", oid: "0".repeat(40), size: 1, path: "a.json" };

describe("an answer of the wrong kind is an error that shows its beginning", () => {
  test.each<Row>([
    ...['{"a":1}', "5", "null", '"abc"', "true", "", "<html>", "\u001b[2J", "[1", "\ufffd\u0000"].flatMap((text) => [
      {
        what: `listing ${JSON.stringify(text)}`,
        faults: json("/tree/", text),
        says: /expected a list|answer is damaged/,
      },
      {
        what: `commit ${JSON.stringify(text)}`,
        faults: json("/revision/", text === '{"a":1}' ? "[]" : text),
        says: /expected an object|answer is damaged/,
      },
    ]),
    ...[null, 1, "x", {}, [], true, { type: "file" }, { ...file, path: 5 }, { ...file, path: null }].map((entry) => ({
      what: `entry ${JSON.stringify(entry)}`,
      faults: added(entry),
      says: /entries with a type and a path.*HF_ENDPOINT/,
    })),
    { what: "an entry of 1 MB", faults: added({ type: "x".repeat(1e6) }), says: /entries with a type and a path/ },
    { what: "nested lists", faults: json("/tree/", "[".repeat(1e6)), says: /answer is damaged/ },
    {
      what: "nested lists as an entry",
      faults: added(JSON.parse("[".repeat(500) + "]".repeat(500))),
      says: /entries with/,
    },
    { what: "the same name twice", faults: added({ ...file, path: "config.json" }), says: /has "config.json" twice/ },
    { what: "LFS of another type", faults: changed("model.safetensors", { lfs: 5 }), says: /64 digits/ },
    ...["../../..", {}, null, 5, ["c"], "c".repeat(39), "C".repeat(40), "\u001b[2J", "c".repeat(1e6)].map((sha) => ({
      what: `sha ${JSON.stringify(sha).slice(0, 20)}`,
      faults: { sha },
      says: /expected a commit of 40 hexadecimal digits/,
    })),
  ])("$what", async ({ faults, says }) => {
    Object.assign(server.faults, faults);
    await expectRefusal(says);
  });

  test("another commit than the one that was asked for", async () => {
    server.faults.sha = "d".repeat(40);
    await expectRefusal(/expected the commit that was asked for, found d{40}/, { revision: server.commit });
  });

  test("an LFS entry of null is none", async () => {
    Object.assign(server.faults, changed("config.json", { lfs: null }));
    await download();
  });
});

describe("a listing ends", () => {
  test.each<Row>([
    {
      what: "always another page",
      faults: next((url) => `${url.origin}${url.pathname}?cursor=${Math.random()}`),
      says: /more than 200 pages/,
    },
    { what: "the same page", faults: next((url) => url.href), says: /the listing repeats a page/ },
    { what: "another host", faults: next(() => "https://evil.example/x"), says: /same address, found "https:\/\/evil/ },
    { what: "another port", faults: next(() => "http://127.0.0.1:1/"), says: /same address/ },
    { what: "no scheme of the web", faults: next(() => "javascript:alert(1)"), says: /same address/ },
    { what: "a file", faults: next(() => "file:///etc/passwd"), says: /same address/ },
    { what: "no address", faults: next(() => "http://["), says: /same address/ },
    { what: "a long address", faults: next(() => `http://[${"a".repeat(10_000)}`), says: /same address/ },
    { what: "too many entries", faults: {}, limits: { listingEntries: 3 }, says: /more than 3 files/ },
    {
      what: "too many bytes in all pages",
      faults: answerOnly("/tree/", (response, url) => {
        const cursor = Number(url.searchParams.get("cursor")) + 1;
        response.setHeader("link", `<${url.origin}${url.pathname}?cursor=${cursor}>; rel="next"`);
        response.end(`[]${" ".repeat(1000)}`);
      }),
      limits: { listingBytes: 5000 },
      says: /answer is larger than \d+ bytes/,
    },
  ])("$what", async ({ faults, limits, says }) => {
    Object.assign(server.faults, faults);
    await expectRefusal(says, { limits });
  });

  test("a relative address of the next page is followed", async () => {
    let pages = 0;
    server.faults.answer = (url, response) => {
      if (url.pathname.includes("/tree/") && pages++ === 0) {
        response.setHeader("link", `</nowhere>; rel="first", <${url.pathname}?cursor=0>; rel=next`);
        response.end("[]");
        return true;
      }
      return false;
    };
    await download();
    expect(pages).toBe(2);
  });
});

describe("compression does not get around the limits", () => {
  const bomb = (part: string, type: string) =>
    answerOnly(part, (response) => {
      response.writeHead(200, { "content-encoding": type });
      const gzip = createGzip();
      gzip.on("error", () => undefined).pipe(response);
      const zeros = Buffer.alloc(1 << 20, 0x20);
      let left = 3000;
      const write = (): unknown => {
        while (left-- > 0) if (!gzip.write(zeros)) return gzip.once("drain", write);
        return gzip.end();
      };
      response.on("close", () => gzip.destroy());
      write();
    });

  test.each<Row>([
    { what: "of the commit", faults: bomb("/revision/", "gzip"), says: /answer is larger than 8000000 bytes/ },
    { what: "of the listing", faults: bomb("/tree/", "gzip"), says: /answer is larger than 8000000 bytes/ },
    { what: "of a file", faults: bomb("/resolve/", "gzip"), says: /config.json is larger than the 22 bytes/ },
    { what: "in layers", faults: bomb("/resolve/", "gzip, gzip"), says: /without compression, found "gzip, gzip"/ },
    {
      what: "in many layers",
      faults: bomb("/tree/", Array(5).fill("gzip").join()),
      says: /without compression, found "gzip,gzip/,
    },
    { what: "that is none", faults: bomb("/tree/", "br"), says: /broke in the middle/ },
  ])("$what", async ({ faults, says }) => {
    Object.assign(server.faults, faults);
    await expectRefusal(says);
    expect(process.memoryUsage().rss).toBeLessThan(1e9);
  });

  test("a compressed answer within them is understood", async () => {
    server.faults.answer = (url, response) => {
      if (!url.pathname.endsWith("/tokenizer.json")) return false;
      response.writeHead(200, { "content-encoding": "gzip" });
      response.end(gzipSync(FILES["tokenizer.json"]));
      return true;
    };
    const folder = await download();
    expect(await readFile(join(folder, "tokenizer.json"), "utf8")).toBe(FILES["tokenizer.json"]);
  });

  test("none is asked for", async () => {
    const asked = new Set<unknown>();
    server.faults.answer = (_url, _response, request) => {
      asked.add(request.headers["accept-encoding"]);
      return false;
    };
    await download();
    expect([...asked]).toEqual(["identity"]);
  });
});

describe("content is what the listing says, or it is not kept", () => {
  const other = (name: keyof typeof FILES) => ({ content: { [name]: "?".repeat(FILES[name].length) } });
  test.each<Row>([
    {
      what: "a small file",
      faults: other("config.json"),
      says: /config\.json: expected content with the git hash [0-9a-f]{40}, found [0-9a-f]{40}\. It was not kept/,
    },
    {
      what: "a large file",
      faults: other("model.safetensors"),
      says: /model\.safetensors: expected content with the sha256 [0-9a-f]{64}, found [0-9a-f]{64}/,
    },
    {
      what: "a file that was continued",
      faults: { ...other("model.safetensors"), break: { file: "model.safetensors", bytes: 1000, times: 1 } },
      says: /model\.safetensors: expected content with the sha256/,
    },
    {
      what: "an empty file",
      faults: { listedHash: { file: "empty.txt", oid: "0".repeat(40) } },
      says: /empty\.txt: expected content with/,
    },
    {
      what: "a file of another size",
      faults: { content: { "tokenizer.json": "t" } },
      says: /tokenizer\.json.* 1 of 3000 bytes/,
    },
    {
      what: "no content",
      faults: answerOnly("/resolve/", (response) => response.writeHead(204).end()),
      says: /config\.json: 0 of 22 bytes/,
    },
    {
      what: "a part that was not asked for",
      faults: answerOnly("/resolve/", (response) =>
        response.writeHead(206, { "content-range": "bytes 5-6/22" }).end("ab"),
      ),
      says: /config\.json: 2 of 22 bytes came/,
    },
    {
      what: "a page of HTML",
      faults: answerOnly("/resolve/", (response) => response.end("<html>".padEnd(22))),
      says: /config\.json: expected content with/,
    },
  ])("$what", async ({ faults, says }) => {
    Object.assign(server.faults, faults);
    await expectRefusal(says);
    expect((await readdir(home, { recursive: true })).filter((name) => name.includes("incomplete"))).toEqual([]);
  });

  test.each([false, true])(
    "a broken download is hashed as a whole; the server ignores ranges: %s",
    async (ignoreRange) => {
      Object.assign(server.faults, { break: { file: "model.safetensors", bytes: 1000, times: 2 }, ignoreRange });
      const folder = await download();
      expect(await readFile(join(folder, "model.safetensors"), "utf8")).toBe(FILES["model.safetensors"]);
    },
  );
});

describe("room on the disk is looked at before the first file", () => {
  test.each([
    ["of a large file", "model.safetensors", { lfs: { oid: "0".repeat(64), size: 1e15 } }],
    ["of a file that is not large", "model.safetensors", { lfs: undefined, size: 9e15 }],
  ])("the size %s", async (_what, name, change) => {
    Object.assign(server.faults, changed(name, change));
    await expectRefusal(/\d+ bytes are to be downloaded, but .* has room for \d+\. Make room/);
    expect(server.downloads()).toEqual([]);
  });

  test("a config.json that nobody could read is not downloaded", async () => {
    Object.assign(server.faults, changed("config.json", { size: 1e15 }));
    await expectRefusal(/config\.json has 1000000000000000 bytes; at most 200000000 are read/);
  });
});

describe("a server that takes its time is an error with the reason", () => {
  const limits = { paceMs: 60, paceBytes: 1000, answerMs: 100 };
  const silent = (part: string) => answerOnly(part, () => undefined);
  const stalled = (part: string) => answerOnly(part, (response) => void response.writeHead(200).write(" "));
  const dripping = (part: string) =>
    answerOnly(part, (response) => {
      const drops = setInterval(() => response.write(" "), 5);
      response.on("close", () => clearInterval(drops));
    });

  test.each<Row>(
    Object.entries({ silent, stalled, dripping }).flatMap(([what, faults]) => [
      {
        what: `${what}, asked for the commit`,
        faults: faults("/revision/"),
        says: /no complete answer within 0\.1 seconds/,
      },
      {
        what: `${what}, asked for the listing`,
        faults: faults("/tree/"),
        says: /no complete answer within 0\.1 seconds/,
      },
      {
        what: `${what}, asked for a file`,
        faults: faults("/tokenizer.json"),
        says: /tokenizer\.json stalled after \d+ of 3000 bytes: fewer than 1000 bytes came in 0\.06 seconds/,
      },
    ]),
  )("$what", async ({ faults, says }) => {
    Object.assign(server.faults, faults);
    await expectRefusal(says, { limits });
  });

  test("a slow server that keeps the pace is waited for", async () => {
    server.faults.slow = { file: "model.safetensors", pieceBytes: 500, pauseMs: 20 };
    await download({ limits: { paceMs: 200, paceBytes: 1000 } });
  });

  test.each(["/revision/", "/tree/", "/config.json", "/model.safetensors"])(
    "Ctrl-C at %s ends it at once",
    async (part) => {
      const controller = new AbortController();
      Object.assign(server.faults, stalled(part));
      setTimeout(() => controller.abort(), 100);
      await expect(download({ signal: controller.signal })).rejects.toThrow(InterruptedError);
    },
  );
});

describe("redirects", () => {
  const redirect = (part: string, location: (url: URL) => string) =>
    answerOnly(part, (response, url) => response.writeHead(302, { location: location(url) }).end());
  test.each<Row>([
    {
      what: "in a circle",
      faults: redirect("/", (url) => url.pathname),
      says: /no connection \(redirect count exceeded\)/,
    },
    { what: "to a file", faults: redirect("/resolve/", () => "file:///etc/passwd"), says: /no connection \(.*scheme/ },
    { what: "to data", faults: redirect("/tree/", () => "data:application/json,[]"), says: /no connection \(.*scheme/ },
    { what: "to no address", faults: redirect("/tree/", () => "http://["), says: /no connection/ },
    {
      what: "to an address with a password",
      faults: redirect("/tree/", () => "http://me:pw@127.0.0.1:1/"),
      says: /no connection/,
    },
    {
      what: "to a hub of its own with the content",
      faults: redirect("/resolve/", (url) => `http://localhost:${url.port}/x`),
      says: /got 404/,
    },
  ])("$what", async ({ faults, says }) => {
    Object.assign(server.faults, faults);
    await expectRefusal(says);
  });
});

describe("statuses", () => {
  test.each([201, 202, 204, 205, 206, 300, 301, 304, 307, 400, 401, 402, 404, 410, 418, 500, 502, 599])(
    "%i for the API and for files",
    async (status) => {
      for (const part of ["/revision/", "/resolve/"]) {
        Object.assign(
          server.faults,
          answerOnly(part, (response) => response.writeHead(status).end()),
        );
        await expectRefusal(/^Asked http/);
      }
    },
  );

  test("headers of an error are quoted in part", async () => {
    const headers = { "x-error-code": "x".repeat(5000), "x-error-message": "y".repeat(5000) };
    Object.assign(
      server.faults,
      answerOnly("/revision/", (response) => response.writeHead(500, headers).end()),
    );
    await expectRefusal(/got 500 x{100}: the hub has trouble: y{300}\./);
  });
});
