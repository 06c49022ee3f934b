import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HubError, UsageError } from "../../src/errors.js";
import { downloadCheckpoint } from "../../src/hub/download-checkpoint.js";
import { type HubFaults, type HubServer, type HubServerOptions, startHubServer } from "../helpers/hub-server.js";

const FILES = { "config.json": "{}", "model.safetensors": "x".repeat(5000) };
const INDEX = (...names: string[]) => JSON.stringify({ weight_map: Object.fromEntries(names.map((n, i) => [i, n])) });

const disk = vi.hoisted(() => ({ isFull: false }));
vi.mock("node:fs/promises", async (load) => {
  const real = await load<typeof import("node:fs/promises")>();
  // /dev/full answers every write as a full disk does.
  const open: typeof real.open = (path, flags, mode) =>
    disk.isFull && String(path).endsWith(".incomplete") ? real.open("/dev/full", "w") : real.open(path, flags, mode);
  return { ...real, open };
});

let home: string;
let server: HubServer;

async function serve(options: Partial<HubServerOptions> = {}): Promise<void> {
  await server?.close();
  server = await startHubServer({ files: FILES, ...options });
}

async function failure(more: Partial<Parameters<typeof downloadCheckpoint>[0]> = {}, env = {}): Promise<Error> {
  const fullEnv = { HF_HOME: home, HF_ENDPOINT: server.endpoint, ...env };
  const error = await downloadCheckpoint({ repo: server.repo, env: fullEnv, ...more }).catch(
    (thrown: unknown) => thrown,
  );
  if (error instanceof Error) return error;
  throw new Error("expected a failure");
}

async function partialFiles(): Promise<string[]> {
  const all = await readdir(home, { recursive: true });
  return all.filter((name) => name.includes("incomplete"));
}

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "hub-"));
  await serve();
});
afterEach(async () => {
  disk.isFull = false;
  await server.close();
  await rm(home, { recursive: true });
});

interface Row {
  rule: string;
  faults?: HubFaults;
  files?: Record<string, string>;
  token?: string;
  env?: Record<string, string>;
  repo?: string;
  revision?: string;
  says: RegExp[];
}

const rows: Row[] = [
  {
    rule: "no such repository",
    repo: "acme/none",
    says: [/got 404 RepoNotFound: no such repository/, /spelling/, /set HF_TOKEN/],
  },
  { rule: "a private repository, no token", token: "hf_x", says: [/it is private/, /set HF_TOKEN/, /401/] },
  {
    rule: "a wrong token",
    token: "hf_x",
    env: { HF_TOKEN: "hf_wrong" },
    says: [/refuses the token/, /settings\/tokens/, /401/],
  },
  {
    rule: "gated, no token",
    faults: { resolve: { status: 401, code: "GatedRepo" } },
    says: [/gated/, /Accept its licence at http:\/\/127\.0\.0\.1:\d+\/acme\/tiny /, /set HF_TOKEN/],
  },
  {
    rule: "gated, licence not accepted",
    faults: { resolve: { status: 403, code: "GatedRepo" } },
    env: { HF_TOKEN: "hf_x" },
    says: [/gated/, /Accept its licence/, /HF_TOKEN belongs to the account/, /403 GatedRepo/],
  },
  { rule: "no such revision", revision: "v9", says: [/no revision "v9"/, /--revision/, /RevisionNotFound/] },
  {
    rule: "a file vanished",
    faults: { resolve: { status: 404, code: "EntryNotFound" } },
    says: [/config\.json was listed but is no longer there/, /run again/],
  },
  {
    rule: "access denied",
    faults: { api: { status: 403, message: "token lacks scope" } },
    says: [/access is denied: token lacks scope/],
  },
  { rule: "too many requests", faults: { api: { status: 429 } }, says: [/too many requests/, /Wait/] },
  {
    rule: "trouble at the hub",
    faults: { api: { status: 503, body: "<html>" } },
    says: [/trouble/, /Try again later/],
  },
  { rule: "an unknown status", faults: { api: { status: 418 } }, says: [/418/, /HF_ENDPOINT/] },
  { rule: "no hub at the endpoint", faults: { api: { status: 200, body: "<html>" } }, says: [/HF_ENDPOINT/] },
  { rule: "a path for a commit", faults: { sha: "../../x" }, says: [/commit of 40/, /\.\.\/\.\.\/x/] },
  { rule: "no commit", faults: { sha: undefined }, says: [/commit of 40/] },
  {
    rule: "a path for a hash",
    faults: { listedHash: { file: "config.json", oid: "../../../x" } },
    says: [/config\.json/, /git hash/],
  },
  {
    rule: "a connection that always breaks",
    faults: { break: { file: "model.safetensors", bytes: 10, times: 100 } },
    says: [/connection broke in model\.safetensors: \d+ of 5000 bytes/, /Run again/],
  },
  {
    rule: "a body larger than listed",
    faults: { excess: { file: "model.safetensors", bytes: 10 } },
    says: [/model\.safetensors is larger than the 5000 bytes/],
  },
  {
    rule: "no safetensors",
    files: { "config.json": "{}", "pytorch_model.bin": "", "onnx/model.onnx": "" },
    says: [/expected model\.safetensors/, /found pytorch_model\.bin, onnx\//, /Choose/],
  },
  { rule: "no config", files: { "model.safetensors": "" }, says: [/no config\.json/] },
  {
    rule: "an index that names an absent shard",
    files: { "config.json": "{}", "model.safetensors.index.json": INDEX("model-1.safetensors") },
    says: [/index\.json names model-1\.safetensors/, /does not have/],
  },
  {
    rule: "an index that names a path",
    files: { "config.json": "{}", "model.safetensors.index.json": INDEX("../x.safetensors") },
    says: [/index\.json/, /"\.\.\/x\.safetensors"/],
  },
];

test.each(rows)("$rule: the error says what was asked, what came and what to do", async (row) => {
  const { faults, files, token, env, repo, revision, says } = row;
  await serve({ ...(files && { files }), ...(token !== undefined && { token }) });
  Object.assign(server.faults, faults);
  const error = await failure({ ...(repo && { repo }), revision }, env);
  expect(error).toBeInstanceOf(HubError);
  for (const pattern of says) expect(error.message).toMatch(pattern);
  expect(error.message).not.toMatch(/\n|\bat \/|signed/);
  if (env?.HF_TOKEN) expect(error.message).not.toContain(env.HF_TOKEN);
  expect(await partialFiles()).toEqual([]);
  expect(await readdir(home, { recursive: true })).not.toContain(join("hub", "models--acme--tiny", "refs"));
});

test("nobody listens at the endpoint: the error names HF_ENDPOINT and HF_HUB_OFFLINE", async () => {
  await server.close();
  const error = await failure();
  expect(error).toBeInstanceOf(HubError);
  expect(error.message).toMatch(/no connection \(.*ECONNREFUSED.*HF_ENDPOINT.*HF_HUB_OFFLINE/);
});

test("no such host: the error names HF_ENDPOINT and HF_HUB_OFFLINE", async () => {
  const error = await failure({}, { HF_ENDPOINT: "http://hub.invalid" });
  expect(error).toBeInstanceOf(HubError);
  // Without any network the resolver says "try again" instead.
  expect(error.message).toMatch(/no connection \(.*(?:ENOTFOUND|EAI_AGAIN).*HF_ENDPOINT.*HF_HUB_OFFLINE/);
});

test("a full disk: the error says so, and nothing of the file stays", async () => {
  disk.isFull = true;
  const error = await failure();
  expect(error).toBeInstanceOf(HubError);
  expect(error.message).toMatch(/disk is full \(ENOSPC.*Make room.*HF_HUB_CACHE/);
  expect(await partialFiles()).toEqual([]);
});

test("a cache that cannot be written: the error names HF_HUB_CACHE", async () => {
  await writeFile(join(home, "file"), "");
  const error = await failure({}, { HF_HUB_CACHE: join(home, "file", "hub") });
  expect(error).toBeInstanceOf(HubError);
  expect(error.message).toMatch(/cannot be written \(ENOTDIR.*HF_HUB_CACHE/);
});

test.skipIf(process.getuid?.() === 0)("a token file that cannot be read is named", async () => {
  await writeFile(join(home, "token"), "hf_x");
  await chmod(join(home, "token"), 0);
  expect((await failure()).message).toMatch(/token: cannot be read/);
});

test("a reference that is in the way is named", async () => {
  await mkdir(join(home, "hub", "models--acme--tiny", "refs", "main"), { recursive: true });
  expect((await failure()).message).toMatch(/main: cannot be written/);
});

test.each([
  { repo: "tiny" },
  { repo: "../../etc/passwd" },
  { repo: "acme/tiny", revision: "../../x" },
  { repo: "acme/tiny", revision: "" },
])("a name that cannot be one is a usage error, before any request: %j", async (names) => {
  expect(await failure(names)).toBeInstanceOf(UsageError);
  expect(server.requests).toEqual([]);
});
