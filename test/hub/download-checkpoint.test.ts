import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scanCacheDir } from "@huggingface/hub";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HubError, InterruptedError } from "../../src/errors.js";
import { downloadCheckpoint } from "../../src/hub/download-checkpoint.js";
import type { DownloadProgress } from "../../src/hub/download-files.js";
import { type HubServer, type HubServerOptions, startHubServer } from "../helpers/hub-server.js";

const SINGLE = {
  "config.json": '{"model_type":"llama"}',
  "tokenizer.json": "{}",
  "tokenizer.model": "sentencepiece",
  "README.md": "# tiny",
  "empty.txt": "",
  "model.safetensors": new Uint8Array(300_000).fill(7),
  "pytorch_model.bin": "pickle",
  "original/consolidated.00.pth": "pickle",
  "onnx/model.onnx": "onnx",
};
const WANTED = ["README.md", "config.json", "empty.txt", "model.safetensors", "tokenizer.json", "tokenizer.model"];
const SHARDED = {
  "config.json": "{}",
  "model.safetensors.index.json": JSON.stringify({
    weight_map: { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" },
  }),
  "model-00001-of-00002.safetensors": "first",
  "model-00002-of-00002.safetensors": "second",
  "consolidated.safetensors": "all again",
};

let home: string;
let server: HubServer;
let env: Record<string, string>;

async function serve(options: Partial<HubServerOptions> = {}): Promise<void> {
  await server?.close();
  server = await startHubServer({ files: SINGLE, ...options });
  env = { HF_HOME: home, HF_ENDPOINT: server.endpoint };
}

const repoFolder = () => join(home, "hub", "models--acme--tiny");
const blobs = async () => (await readdir(join(repoFolder(), "blobs")).catch(() => [])).sort();
const download = (more: Partial<Parameters<typeof downloadCheckpoint>[0]> = {}) =>
  downloadCheckpoint({ repo: server.repo, env, ...more });

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "hub-"));
  await serve();
});
afterEach(async () => {
  await server.close();
  await rm(home, { recursive: true });
});

test("the cache has the layout of huggingface_hub: blobs named by etag, relative links, refs", async () => {
  const folder = await download();
  expect(folder).toBe(join(repoFolder(), "snapshots", server.commit));
  expect((await readdir(folder)).sort()).toEqual(WANTED);
  for (const name of WANTED) {
    expect((await lstat(join(folder, name))).isSymbolicLink()).toBe(true);
    expect(await readlink(join(folder, name))).toBe(join("..", "..", "blobs", server.etag(name)));
  }
  expect(await readFile(join(folder, "config.json"), "utf8")).toBe(SINGLE["config.json"]);
  expect(Buffer.compare(await readFile(join(folder, "model.safetensors")), SINGLE["model.safetensors"])).toBe(0);
  expect(await readFile(join(repoFolder(), "refs", "main"), "utf8")).toBe(server.commit);
  expect(await blobs()).toEqual(WANTED.map((name) => server.etag(name)).sort());
});

test("another reader of the cache finds the model, its commit and its reference", async () => {
  await download();
  const { repos, warnings } = await scanCacheDir(join(home, "hub"));
  expect(warnings).toEqual([]);
  expect(repos.map(({ id }) => id)).toEqual([{ type: "model", name: server.repo }]);
  expect(repos[0]?.revisions.map(({ commitOid, refs }) => [commitOid, refs])).toEqual([[server.commit, ["main"]]]);
  expect(repos[0]?.filesCount).toBe(WANTED.length);
});

test("weights come last, so that what is wrong with small files shows first", async () => {
  await download();
  expect(server.downloads().at(-1)).toBe("model.safetensors");
});

test("of a sharded checkpoint, the index and the shards it names are downloaded", async () => {
  await serve({ files: SHARDED });
  const folder = await download();
  const { "consolidated.safetensors": _left, ...wanted } = SHARDED;
  expect((await readdir(folder)).sort()).toEqual(Object.keys(wanted).sort());
});

test("the listing is read to its last page", async () => {
  await serve({ pageSize: 2 });
  expect((await readdir(await download())).sort()).toEqual(WANTED);
});

test("a second call downloads nothing", async () => {
  const folder = await download();
  server.requests.length = 0;
  expect(await download()).toBe(folder);
  expect(server.downloads()).toEqual([]);
});

test("only what is missing or damaged is downloaded", async () => {
  const folder = await download();
  server.requests.length = 0;
  await rm(join(folder, "README.md"));
  await writeFile(join(repoFolder(), "blobs", server.etag("tokenizer.json")), "damaged");
  await rm(join(repoFolder(), "blobs", server.etag("config.json")));
  await download();
  expect(server.downloads().sort()).toEqual(["config.json", "tokenizer.json"]);
  expect(await readFile(join(folder, "tokenizer.json"), "utf8")).toBe("{}");
  expect(await readFile(join(folder, "README.md"), "utf8")).toBe("# tiny");
});

test("a new commit downloads only what has changed", async () => {
  await download();
  await serve({ commit: "d".repeat(40), files: { ...SINGLE, "README.md": "# new" } });
  const folder = await download();
  expect(server.downloads()).toEqual(["README.md"]);
  expect((await readdir(folder)).sort()).toEqual(WANTED);
  expect(await readFile(join(repoFolder(), "refs", "main"), "utf8")).toBe("d".repeat(40));
});

test.each([
  ["v1.0", ["refs", "v1.0"]],
  ["refs/pr/1", ["refs", "refs", "pr", "1"]],
])("the revision %s has its own reference", async (revision, path) => {
  await serve({ revisions: [revision] });
  await download({ revision });
  expect(await readFile(join(repoFolder(), ...path), "utf8")).toBe(server.commit);
});

test("a commit needs no reference", async () => {
  await download({ revision: server.commit });
  expect(await readdir(repoFolder())).not.toContain("refs");
});

test("HF_HUB_CACHE is obeyed", async () => {
  const cache = join(home, "elsewhere");
  const folder = await download({ env: { ...env, HF_HUB_CACHE: cache } });
  expect(folder).toBe(join(cache, "models--acme--tiny", "snapshots", server.commit));
});

test("the token goes to the endpoint and not to the CDN", async () => {
  await serve({ token: "not-in-hf-form" });
  await download({ env: { ...env, HF_TOKEN: "not-in-hf-form" } });
  const sent = (host: string) => server.requests.filter((request) => request.server === host);
  expect(sent("hub").every(({ authorization }) => authorization === "Bearer not-in-hf-form")).toBe(true);
  expect(sent("cdn")).not.toHaveLength(0);
  expect(sent("cdn").every(({ authorization }) => authorization === undefined)).toBe(true);
});

test("the token file is read", async () => {
  await serve({ token: "hf_stored" });
  await writeFile(join(home, "token"), "hf_stored\n");
  await expect(download()).resolves.toContain(server.commit);
});

test("after a download the model is there offline, without a request", async () => {
  await serve({ files: SHARDED });
  const folder = await download();
  server.requests.length = 0;
  const offline = { HF_HOME: home, HF_HUB_OFFLINE: "1", HF_ENDPOINT: server.endpoint };
  expect(await download({ env: offline })).toBe(folder);
  expect(await download({ env: offline, revision: server.commit })).toBe(folder);
  expect(server.requests).toEqual([]);
});

test.each([
  ["config.json", /is not in the cache/],
  ["model.safetensors.index.json", /model\.safetensors \(or model\.safetensors\.index\.json\) is missing/],
  ["model-00002-of-00002.safetensors", /model-00002-of-00002\.safetensors is missing/],
])("offline without %s is an error that says so", async (name, expected) => {
  await serve({ files: SHARDED });
  const folder = await download();
  await rm(join(folder, name));
  const error = await download({ env: { ...env, HF_HUB_OFFLINE: "1" } }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(HubError);
  expect(String(error)).toMatch(expected);
  expect(String(error)).toContain("HF_HUB_OFFLINE");
});

test.each([{}, { revision: "v2" }, { revision: "e".repeat(40) }])("offline and never downloaded: %j", async (more) => {
  await expect(download({ ...more, env: { ...env, HF_HUB_OFFLINE: "yes" } })).rejects.toThrow(
    /not in the cache.*Run once/,
  );
});

test("progress counts up to the total, over the files that are not in the cache", async () => {
  const folder = await download();
  for (const name of ["model.safetensors", "config.json"]) {
    await rm(join(repoFolder(), "blobs", server.etag(name)));
    await rm(join(folder, name));
  }
  const calls: DownloadProgress[] = [];
  await download({ onProgress: (progress) => calls.push(progress) });
  const total = 300_000 + SINGLE["config.json"].length;
  expect(calls[0]).toEqual({ file: "config.json", fileIndex: 1, fileCount: 2, receivedBytes: 0, totalBytes: total });
  expect(calls.at(-1)).toEqual({
    file: "model.safetensors",
    fileIndex: 2,
    fileCount: 2,
    receivedBytes: total,
    totalBytes: total,
  });
  const received = calls.map(({ receivedBytes }) => receivedBytes);
  expect(received).toEqual([...received].sort((a, b) => a - b));
});

test("progress is told about ten times a second, not for every piece", async () => {
  server.faults.slow = { file: "model.safetensors", pieceBytes: 3000, pauseMs: 3 };
  const calls: DownloadProgress[] = [];
  const start = performance.now();
  await download({ onProgress: (progress) => calls.push(progress) });
  const ofWeights = calls.filter(({ file }) => file === "model.safetensors");
  expect(ofWeights.length).toBeGreaterThan(2);
  expect(ofWeights.length).toBeLessThanOrEqual(3 + (performance.now() - start) / 100);
});

test("a broken connection is taken up where it ended", async () => {
  server.faults.break = { file: "model.safetensors", bytes: 100_000, times: 2 };
  const folder = await download();
  expect(Buffer.compare(await readFile(join(folder, "model.safetensors")), SINGLE["model.safetensors"])).toBe(0);
  const ranges = server.requests.filter(
    ({ server: host, path }) => host === "cdn" && path.endsWith("model.safetensors"),
  );
  const starts = ranges.map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? "bytes=0-")?.[1]));
  expect(starts).toHaveLength(3);
  expect(starts[0]).toBe(0);
  // A little of what was on its way may be lost.
  expect(starts[1]).toBeGreaterThan(0);
  expect(starts[2]).toBeGreaterThan(starts[1] ?? 0);
});

test.each([
  ["before the first request", 0],
  ["in the middle of a file", 50_000],
])("an abort %s leaves no partial file and no reference", async (_rule, bytes) => {
  server.faults.slow = { file: "model.safetensors", pieceBytes: 10_000, pauseMs: 30 };
  const controller = new AbortController();
  if (bytes === 0) controller.abort();
  const onProgress = ({ receivedBytes }: DownloadProgress) => {
    if (receivedBytes >= bytes) controller.abort();
  };
  await expect(download({ signal: controller.signal, onProgress })).rejects.toThrow(InterruptedError);
  const whole = bytes === 0 ? [] : WANTED.filter((name) => name !== "model.safetensors");
  expect(await blobs()).toEqual(whole.map((name) => server.etag(name)).sort());
  expect(await readdir(repoFolder()).catch(() => [])).not.toContain("refs");
});

test("an abort while the API is asked is an interruption", async () => {
  const controller = new AbortController();
  const waits: typeof fetch = async (_input, init) => {
    setTimeout(() => controller.abort(new Error("any reason")), 5);
    return await new Promise((_done, fail) => init?.signal?.addEventListener("abort", () => fail(init.signal?.reason)));
  };
  await expect(download({ signal: controller.signal, fetch: waits })).rejects.toThrow(InterruptedError);
});

test("an existing folder of huggingface_hub is added to, not replaced", async () => {
  await mkdir(join(repoFolder(), "refs"), { recursive: true });
  await writeFile(join(repoFolder(), "refs", "v0"), "b".repeat(40));
  await download();
  expect((await readdir(join(repoFolder(), "refs"))).sort()).toEqual(["main", "v0"]);
});
