import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HubError, UsageError } from "../../src/errors.js";
import {
  cachedCommit,
  hubCacheFolder,
  hubEndpoint,
  hubToken,
  isOffline,
  repoCacheFolder,
} from "../../src/hub/hub-cache.js";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hub-cache-"));
  await writeFile(join(folder, "token"), "hf_file\n");
  await writeFile(join(folder, "other"), "  hf_other\r\n");
  await writeFile(join(folder, "empty"), "\n");
  await mkdir(join(folder, ".cache", "huggingface"), { recursive: true });
  await writeFile(join(folder, ".cache", "huggingface", "token"), "hf_home");
});
afterAll(() => rm(folder, { recursive: true }));

test.each([
  ["HF_HUB_CACHE first", { HF_HUB_CACHE: "/a", HF_HOME: "/b", XDG_CACHE_HOME: "/c", HOME: "/h" }, "/a"],
  ["its old name", { HUGGINGFACE_HUB_CACHE: "/a", HF_HOME: "/b", HOME: "/h" }, "/a"],
  ["then HF_HOME/hub", { HF_HOME: "/b", XDG_CACHE_HOME: "/c", HOME: "/h" }, "/b/hub"],
  ["then XDG_CACHE_HOME", { XDG_CACHE_HOME: "/c", HOME: "/h" }, "/c/huggingface/hub"],
  ["else the home folder", { HOME: "/h" }, "/h/.cache/huggingface/hub"],
  ["~ is the home folder", { HF_HOME: "~/hf", HOME: "/h" }, "/h/hf/hub"],
  ["an empty variable is none", { HF_HUB_CACHE: "", HF_HOME: "", HOME: "/h" }, "/h/.cache/huggingface/hub"],
])("the cache folder: %s", (_rule, env, expected) => {
  expect(hubCacheFolder(env)).toBe(join(expected));
});

test.each([
  ["1", true],
  ["ON", true],
  ["yes", true],
  ["True", true],
  ["0", false],
  ["off", false],
  ["", false],
  ["2", false],
  [undefined, false],
])("HF_HUB_OFFLINE=%s means %s", (value, expected) => {
  expect(isOffline({ HF_HUB_OFFLINE: value })).toBe(expected);
});

test("TRANSFORMERS_OFFLINE counts as in Python", () => {
  expect(isOffline({ TRANSFORMERS_OFFLINE: "1" })).toBe(true);
  expect(isOffline({ TRANSFORMERS_OFFLINE: "1", HF_HUB_OFFLINE: "0" })).toBe(false);
});

test.each([
  [undefined, "https://huggingface.co"],
  ["", "https://huggingface.co"],
  ["https://mirror.example/", "https://mirror.example"],
  ["http://127.0.0.1:8000/hub//", "http://127.0.0.1:8000/hub"],
])("HF_ENDPOINT=%s is %s", (value, expected) => {
  expect(hubEndpoint({ HF_ENDPOINT: value })).toBe(expected);
});

test.each([
  "mirror.example",
  "file:///hub",
  "https://",
  "javascript:alert(1)",
  "https://hub.example/?a=b",
  "https://hub.example/#a",
  "https://hub example",
  "https://hub\n.example",
  "https://[::1",
  "https://hub.example:99999",
  "https:\\\\hub.example",
  `https://hub.example/${"a".repeat(10_000)}`,
])("HF_ENDPOINT=%j is refused", (value) => {
  expect(() => hubEndpoint({ HF_ENDPOINT: value })).toThrow(UsageError);
  expect(() => hubEndpoint({ HF_ENDPOINT: value })).toThrow(/^HF_ENDPOINT: .{1,300}$/);
});

test.each(["https://me:secret@hub.example", "https://secret@hub.example"])(
  "HF_ENDPOINT=%s is refused, and its secret not printed",
  (value) => {
    expect(() => hubEndpoint({ HF_ENDPOINT: value })).toThrow(/HF_TOKEN/);
    expect(() => hubEndpoint({ HF_ENDPOINT: value })).not.toThrow(/secret/);
  },
);

test.each([
  ["HF_TOKEN first", { HF_TOKEN: " hf_env\n", HF_HOME: "." }, "hf_env"],
  ["then the file HF_TOKEN_PATH", { HF_TOKEN_PATH: "./other", HF_HOME: "." }, "hf_other"],
  ["then HF_HOME/token", { HF_HOME: "." }, "hf_file"],
  ["else the home folder", { HOME: "." }, "hf_home"],
  ["an empty file is none", { HF_TOKEN_PATH: "./empty" }, undefined],
  ["no file is none", { HF_TOKEN_PATH: "./absent" }, undefined],
  ["an empty HF_TOKEN is none", { HF_TOKEN: "", HF_HOME: "." }, "hf_file"],
  ["none when implicit tokens are forbidden", { HF_TOKEN: "hf_env", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }, undefined],
])("the token: %s", async (_rule, env, expected) => {
  const here = Object.entries(env).map(([name, value]) => [name, value.replace(/^\./, folder)]);
  expect(await hubToken(Object.fromEntries(here))).toBe(expected);
});

test.each(["hf_a b", "hf_ä"])("a token that cannot be sent is refused, and not shown: %s", async (token) => {
  const error = await hubToken({ HF_TOKEN: token }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(HubError);
  expect(String(error)).toContain("HF_TOKEN");
  expect(String(error)).not.toContain(token);
});

test("a revision is looked up in refs, a commit stands for itself", async () => {
  const repo = repoCacheFolder(folder, "acme/tiny");
  expect(repo).toBe(join(folder, "models--acme--tiny"));
  await mkdir(join(repo, "refs", "refs", "pr"), { recursive: true });
  await writeFile(join(repo, "refs", "main"), `${"a".repeat(40)}\n`);
  await writeFile(join(repo, "refs", "refs", "pr", "1"), "b".repeat(40));
  await writeFile(join(repo, "refs", "bad"), "../../elsewhere");
  expect(await cachedCommit(repo, "main")).toBe("a".repeat(40));
  expect(await cachedCommit(repo, "refs/pr/1")).toBe("b".repeat(40));
  expect(await cachedCommit(repo, "d".repeat(40))).toBe("d".repeat(40));
  expect(await cachedCommit(repo, "bad")).toBeUndefined();
  expect(await cachedCommit(repo, "absent")).toBeUndefined();
  expect(await cachedCommit(repo, "refs")).toBeUndefined();
});
