// The built program on a hub id, against a local server that speaks the hub's API.

import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { calibrationOf, type ExampleFolder, makeExample } from "../helpers/example-checkpoint.js";
import { type HubServer, startHubServer } from "../helpers/hub-server.js";
import { runCli, runMain } from "../helpers/run-cli.js";

let root: string;
let example: ExampleFolder;
let server: HubServer;
let env: Record<string, string>;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "kv-scales-hub-"));
  example = makeExample(join(root, "example"), 2);
  const names = readdirSync(example.model);
  const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(example.model, name))]));
  server = await startHubServer({ files, revisions: ["main", "v1"] });
  env = { HF_HOME: join(root, "home"), HF_ENDPOINT: server.endpoint };
});
afterAll(async () => {
  await server.close();
  await rm(root, { recursive: true, force: true });
});

const onHub = (...more: string[]) => ["--data", example.prompts, ...more];

test("a hub id is fetched into the cache and gives the same scales as the folder", async () => {
  const cwd = mkdtempSync(join(root, "cwd-"));
  const { exitCode, stdout, stderr } = await runCli([server.repo, ...onHub()], { cwd, env });
  expect(stderr).toContain("Downloading");
  expect(exitCode).toBe(0);
  const output = join(cwd, "tiny-FP8-KV");
  expect(stdout).toContain(output);
  await runCli(calibrationOf(example));
  const scales = "model-kv-scales.safetensors";
  expect(readFileSync(join(output, scales))).toEqual(readFileSync(join(example.output, scales)));
  const record: unknown = JSON.parse(readFileSync(join(output, "kv_scales.json"), "utf8"));
  expect(record).toMatchObject({
    model: server.repo,
    commit: "c".repeat(40),
    data: "prompts.txt",
    command: expect.stringMatching(/^create-kv-scales acme\/tiny --revision c{40} --format tgi .*--data prompts\.txt /),
  });
});

test("the weights of the result are the blobs of the cache, not copies and not links to them", async () => {
  const output = join(root, "linked");
  await runCli([server.repo, ...onHub("-o", output)], { env });
  const weights = statSync(join(output, "model-00001-of-00002.safetensors"));
  expect(weights.isFile()).toBe(true);
  expect(weights.nlink).toBeGreaterThan(1);
});

test("offline, the cache is enough", async () => {
  const offline = { ...env, HF_HUB_OFFLINE: "1" };
  const { exitCode } = await runCli([server.repo, ...onHub("-o", join(root, "offline"))], { env: offline });
  expect(exitCode).toBe(0);
});

describe("a clear error and exit code 3, and no folder in the cache's place", () => {
  test.each([
    ["a repository that does not exist", { status: 404, code: "RepoNotFound" }, /acme\/tiny.*no such repository/i],
    ["a gated repository", { status: 403, code: "GatedRepo" }, /HF_TOKEN/],
  ])("%s", async (_what, api, message) => {
    server.faults.api = api;
    const output = join(root, "never");
    const { exitCode, stdout, stderr } = await runCli([server.repo, ...onHub("-o", output)], {
      env: { ...env, HF_HOME: join(root, "other-home") },
    });
    delete server.faults.api;
    expect(exitCode).toBe(3);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(readdirSync(root)).not.toContain("never");
  });

  test("no network", async () => {
    const nowhere = { ...env, HF_ENDPOINT: "http://127.0.0.1:9", HF_HOME: join(root, "other-home") };
    const { exitCode, stderr } = await runCli([server.repo, ...onHub()], { env: nowhere });
    expect(exitCode).toBe(3);
    expect(stderr).toMatch(/^Error: .*127\.0\.0\.1:9.*HF_/m);
  });
});

test("a revision stands behind @; --revision is that of the hub ids without one, on both sides of diff", async () => {
  const scaled = makeExample(join(root, "scaled"));
  await runMain(calibrationOf(scaled, "--quiet"));
  const names = readdirSync(scaled.output);
  const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(scaled.output, name))]));
  const hub = await startHubServer({ repo: "acme/scaled", files, revisions: ["main", "v1", "v2"] });
  const refsAfter = async (...args: readonly string[]) => {
    const home = mkdtempSync(join(root, "home-"));
    const result = await runCli(args, { env: { HF_HOME: home, HF_ENDPOINT: hub.endpoint } });
    expect(result).toMatchObject({ exitCode: 0 });
    return readdirSync(join(home, "hub/models--acme--scaled/refs")).toSorted();
  };
  expect(await refsAfter("inspect", "acme/scaled@v1")).toEqual(["v1"]);
  expect(await refsAfter("diff", "acme/scaled@v1", "acme/scaled", "--revision", "v2")).toEqual(["v1", "v2"]);
  expect(await refsAfter("diff", scaled.output, "acme/scaled", "--revision", "v2")).toEqual(["v2"]);
  await hub.close();
});

test.each([
  [["./not-a-folder", "--revision", "v1"], "--revision"],
  [["inspect", "acme/tiny@v1", "--revision", "main"], "--revision"],
  [["diff", "./a", "acme/tiny@v1", "--revision", "main"], "--revision"],
  [["acme/tiny", "--in-place"], "--in-place"],
])("%j is refused as wrong usage", async (args, option) => {
  const { exitCode, stderr } = await runCli(args, { env });
  expect(exitCode).toBe(2);
  expect(stderr).toContain(option);
});

test("two processes that fetch the same model at the same time both succeed, and leave nothing but the model", async () => {
  const home = join(root, "shared-home");
  const runs = ["one", "two"].map((name) =>
    runCli([server.repo, ...onHub("-o", join(root, name))], { env: { ...env, HF_HOME: home } }),
  );
  expect(
    (await Promise.all(runs)).map(({ exitCode, stderr }) => ({ exitCode, errors: /^Error: .*$/m.exec(stderr)?.[0] })),
  ).toEqual([
    { exitCode: 0, errors: undefined },
    { exitCode: 0, errors: undefined },
  ]);
  const blobs = readdirSync(join(home, "hub", "models--acme--tiny", "blobs"));
  expect(blobs.filter((name) => !/^[0-9a-f]{40,64}$/.test(name))).toEqual([]);
});

test("weights of the right size and another hash are exit code 3, and not in the cache", async () => {
  const shard = "model-00002-of-00002.safetensors";
  const content = new Uint8Array(readFileSync(join(example.model, shard))).fill(1, -1000);
  server.faults.content = { [shard]: content };
  const home = join(root, "wrong-home");
  const { exitCode, stderr } = await runCli([server.repo, ...onHub()], { env: { ...env, HF_HOME: home } });
  delete server.faults.content;
  expect(exitCode).toBe(3);
  expect(stderr).toMatch(/^Error: .*00002\.safetensors: expected content with the sha256 .* found /m);
  expect(readdirSync(join(home, "hub", "models--acme--tiny", "blobs"))).not.toContain(server.etag(shard));
});

test("a connection that the server never ends does not keep the program, nor print a trace when it ends", async () => {
  server.faults.answer = (_url, response) => {
    response.writeHead(200, { "content-encoding": Array(6).fill("gzip").join() }).write("x");
    return true;
  };
  const { exitCode, stderr } = await runCli([server.repo, ...onHub()], { env });
  delete server.faults.answer;
  expect(exitCode).toBe(3);
  expect(stderr).toMatch(/^Error: [^\n]*\n$/);
});

test.runIf(existsSync("/proc/self"))(
  "a cache and an output where no folder can be made are errors, not a run without end",
  async () => {
    const cache = await runCli([server.repo, ...onHub()], { env: { ...env, HF_HOME: "/proc/x" } });
    expect(cache.exitCode).toBe(3);
    expect(cache.stderr).toMatch(/no folder can be made in \/proc.*HF_HUB_CACHE/);
    const output = await runCli([example.model, "--data", example.prompts, "-o", "/proc/x/y"], { env });
    expect(output.exitCode).toBe(7);
    expect(output.stderr).toMatch(/^Error: .*\/proc/m);
  },
);
