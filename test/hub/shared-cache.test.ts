// The cache belongs to several programs and processes: what is whole stays, what is damaged is brought again, and nobody
// is hindered by another, alive or dead.

import { execFileSync } from "node:child_process";
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HubError } from "../../src/errors.js";
import { downloadCheckpoint } from "../../src/hub/download-checkpoint.js";
import { hubToken } from "../../src/hub/hub-cache.js";
import type { DownloadOptions } from "../../src/hub/open-hub.js";
import { type HubServer, startHubServer } from "../helpers/hub-server.js";

const FILES = { "config.json": "{}", "model.safetensors": "x".repeat(5000), "tokenizer.json": "t".repeat(3000) };

let home: string;
let server: HubServer;

const inRepo = (...names: string[]) => join(home, "hub", "models--acme--tiny", ...names);
const blobOf = (name: string) => inRepo("blobs", server.etag(name));
const download = (more: Partial<DownloadOptions> = {}) =>
  downloadCheckpoint({ repo: server.repo, env: { HF_HOME: home, HF_ENDPOINT: server.endpoint }, ...more });

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "hub-"));
  server = await startHubServer({ files: FILES });
});
afterEach(async () => {
  await server.close();
  await rm(home, { recursive: true });
});

describe("what is in the cache", () => {
  test.each([
    ["is hashed when it is small, and brought again when it is damaged", {}, ["model.safetensors"]],
    ["is trusted by name and size when it is large", { checkedBytes: 4999 }, []],
  ])("%s", async (_rule, limits, expected) => {
    const folder = await download();
    await writeFile(blobOf("model.safetensors"), "?".repeat(5000));
    server.requests.length = 0;
    await download({ limits });
    expect(server.downloads()).toEqual(expected);
    const content = await readFile(join(folder, "model.safetensors"), "utf8");
    expect(content[0]).toBe(expected.length > 0 ? "x" : "?");
  });

  test("is hashed before another commit is linked to it", async () => {
    await mkdir(inRepo("blobs"), { recursive: true });
    await writeFile(blobOf("tokenizer.json"), "?".repeat(3000));
    const folder = await download();
    expect(await readFile(join(folder, "tokenizer.json"), "utf8")).toBe(FILES["tokenizer.json"]);
  });

  test("is not written to when it is whole, so that it may be read-only", async () => {
    const folder = await download();
    const times = async () => {
      const names = [folder, join(folder, "config.json"), inRepo("blobs"), inRepo("refs"), inRepo("refs", "main")];
      return await Promise.all(names.map(async (name) => (await lstat(name)).mtimeMs));
    };
    const before = await times();
    await download();
    expect(await times()).toEqual(before);
  });

  test("several downloads at once all succeed, and no file vanishes meanwhile", async () => {
    server.faults.slow = { file: "tokenizer.json", pieceBytes: 500, pauseMs: 2 };
    const folder = inRepo("snapshots", server.commit);
    let vanished = 0;
    let seen = 0;
    const watch = setInterval(async () => {
      const isThere = await readFile(join(folder, "config.json")).then(
        () => true,
        () => false,
      );
      if (isThere) seen++;
      else if (seen > 0) vanished++;
    }, 1);
    const folders = await Promise.all(Array.from({ length: 5 }, () => download()));
    clearInterval(watch);
    expect(new Set(folders)).toEqual(new Set([folder]));
    expect(seen).toBeGreaterThan(0);
    expect(vanished).toBe(0);
    for (const [name, content] of Object.entries(FILES)) {
      expect(await readFile(join(folder, name), "utf8")).toBe(content);
    }
    expect((await readdir(inRepo("blobs"))).sort()).toEqual(Object.keys(FILES).map(server.etag).sort());
  });

  test("content that another process brings during a download stays the same file, unless it is damaged", async () => {
    const content = FILES["tokenizer.json"];
    for (const brought of [content, "?".repeat(content.length)]) {
      server.faults.slow = { file: "tokenizer.json", pieceBytes: 500, pauseMs: 10 };
      const downloading = download();
      const blob = blobOf("tokenizer.json");
      while (!server.downloads().includes("tokenizer.json")) await pause(1);
      await writeFile(blob, brought);
      const { ino } = await lstat(blob);
      await downloading;
      expect((await lstat(blob)).ino === ino).toBe(brought === content);
      expect(await readFile(blob, "utf8")).toBe(content);
      await rm(inRepo(), { recursive: true });
      server.requests.length = 0;
    }
  });

  test("what a killed run left a day ago is cleared; all else stays", async () => {
    const etag = "a".repeat(64);
    const uuid = "01234567-89ab-4def-8123-456789abcdef";
    const dead = [`${etag}.${uuid}.incomplete`, `${"b".repeat(40)}.${uuid}.incomplete`];
    const kept = [`${etag}.incomplete`, `${etag}.01234567.incomplete`, `mine.${uuid}.incomplete`, `${etag}.${uuid}`];
    const young = `${"c".repeat(64)}.${uuid}.incomplete`;
    await mkdir(inRepo("blobs"), { recursive: true });
    const dayAgo = Date.now() / 1000 - 90_000;
    for (const name of [...dead, ...kept, young]) {
      await writeFile(inRepo("blobs", name), "");
      if (name !== young) await utimes(inRepo("blobs", name), dayAgo, dayAgo);
    }
    await download();
    expect((await readdir(inRepo("blobs"))).sort()).toEqual(
      [...kept, young, ...Object.keys(FILES).map(server.etag)].sort(),
    );
  });

  test.each([
    ["a folder for a link", () => inRepo("snapshots", "c".repeat(40), "config.json", "x")],
    ["a folder for a blob", () => join(blobOf("config.json"), "x")],
  ])("%s is in the way: an error that names it, and it stays", async (_what, path) => {
    await mkdir(path(), { recursive: true });
    await expect(download()).rejects.toThrow(/models--acme--tiny.*cannot be written/);
    expect((await lstat(path())).isDirectory()).toBe(true);
  });
});

describe.skipIf(process.platform === "win32")("what is no plain file, or too large, is not read", () => {
  const MAKE_PIPE = "mkfifo";
  const pipe = (path: string) => execFileSync(MAKE_PIPE, [path]);
  const large = (path: string) => writeFile(path, "x".repeat(20_000));

  test.each([
    ["a pipe", pipe],
    ["20,000 bytes", large],
  ])("as a reference: %s", async (_what, make) => {
    await mkdir(inRepo("refs"), { recursive: true });
    await make(inRepo("refs", "main"));
    for (const HF_HUB_OFFLINE of ["0", "1"]) {
      const env = { HF_HOME: home, HF_ENDPOINT: server.endpoint, HF_HUB_OFFLINE };
      await expect(download({ env })).rejects.toThrow(HubError);
      await expect(download({ env })).rejects.toThrow(/refs\/main: cannot be read/);
    }
  });

  test.each([
    ["a pipe", (path: string) => pipe(path), "token"],
    ["a device", () => undefined, "/dev/zero"],
    ["20,000 bytes", (path: string) => large(path), "token"],
  ])("as a token: %s", async (_what, make, name) => {
    const path = name.startsWith("/") ? name : join(home, name);
    await make(path);
    await expect(hubToken({ HF_TOKEN_PATH: path })).rejects.toThrow(
      /cannot be read: (?:it is not a plain file|20000 bytes)/,
    );
  });
});
