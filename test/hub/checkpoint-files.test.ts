import { expect, test } from "vitest";
import { CheckpointError, HubError } from "../../src/errors.js";
import {
  describeOtherWeights,
  type RepoFile,
  selectSideFiles,
  shardNames,
  toRepoFile,
} from "../../src/hub/checkpoint-files.js";
import { HUB_LIMITS } from "../../src/hub/hub-limits.js";
import type { ListedEntry } from "../../src/hub/hub-listing.js";

const question = { endpoint: "https://hub.example", repo: "acme/tiny", revision: "main", hasToken: false };
const sideFiles = (...files: readonly RepoFile[]) => selectSideFiles(question, files, HUB_LIMITS);

const entry = (path: string, more: Partial<ListedEntry> = {}): ListedEntry => ({
  type: "file",
  path,
  size: 10,
  oid: "a".repeat(40),
  lfs: undefined,
  ...more,
});

test.each([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer.model",
  "chat_template.jinja",
  "chat_template.json",
  "vocab.txt",
  "merges.txt",
  "modeling_x.py",
  "README.md",
  "LICENSE",
  "model.safetensors.index.json",
  "qwen.tiktoken",
])("%s comes along", (name) => {
  expect(sideFiles({ name, size: 10, etag: "" })).toHaveLength(1);
});

test.each([
  "model.safetensors",
  "consolidated.safetensors",
  "pytorch_model.bin",
  "consolidated.00.pth",
  "model-Q4.gguf",
  "model.onnx",
  "training_args.bin",
  "logo.png",
  ".gitattributes",
])("%s stays on the hub", (name) => {
  expect(sideFiles({ name, size: 10, etag: "" })).toHaveLength(0);
});

test("a huge text file stays on the hub", () => {
  expect(sideFiles({ name: "corpus.txt", size: 1e9, etag: "" })).toHaveLength(0);
});

test("a large file is named by its sha256, a small one by its git hash", () => {
  const lfs = { oid: "b".repeat(64), size: 7 };
  expect(toRepoFile(entry("x.safetensors", { lfs }))).toEqual({ name: "x.safetensors", size: 7, etag: lfs.oid });
  expect(toRepoFile(entry("config.json"))).toEqual({ name: "config.json", size: 10, etag: "a".repeat(40) });
});

test.each([
  "onnx/model.json",
  "../config.json",
  "/etc/passwd.json",
  "..",
  ".",
  "",
  "a\\b.json",
  "C:config.json",
  "a\0.json",
  "a\n.json",
  "\u001b[2J.json",
  "\u009b2J.json",
  "a\u2028.json",
  "\ud800.json",
  "a?.json",
  "a*.json",
  '"a".json',
  "a<b>.json",
  "a|b.json",
  "README.",
  "README ",
  "nul",
  "CON.json",
  "com1.txt",
  "lpt9.tar.json",
  `${"x".repeat(251)}.json`,
  `${"ü".repeat(126)}.json`,
])("a name that is none on every system is passed over: %j", (path) => {
  expect(toRepoFile(entry(path))).toBeUndefined();
});

test.each(["console.json", "README", "Ünïcode 模型.json", "a b.json", ".hidden.json", `${"x".repeat(250)}.json`])(
  "%s is a name",
  (path) => {
    expect(toRepoFile(entry(path))?.name).toBe(path);
  },
);

test.each([
  ["a path for a hash", entry("config.json", { oid: "../../../x" })],
  ["no hash", entry("config.json", { oid: "" })],
  ["a number for a hash", entry("config.json", { oid: 5 })],
  ["a hash in capitals", entry("config.json", { oid: "A".repeat(40) })],
  ["a sha256 for a git hash", entry("config.json", { oid: "a".repeat(64) })],
  ["a git hash for a sha256", entry("config.json", { lfs: { oid: "a".repeat(40), size: 10 } })],
  ["a hash of 5 MB", entry("config.json", { oid: "a".repeat(5e6) })],
  ["a negative size", entry("config.json", { size: -1 })],
  ["half a byte", entry("config.json", { size: 0.5 })],
  ["a size beyond all integers", entry("config.json", { size: 1e300 })],
  ["a text for a size", entry("config.json", { size: "10" })],
  ["no size", entry("config.json", { size: null })],
  ["no size of the large file", entry("x.safetensors", { lfs: { oid: "a".repeat(64), size: undefined } })],
])("%s is refused", (_rule, bad) => {
  expect(() => toRepoFile(bad)).toThrow(HubError);
  expect(() => toRepoFile(bad)).toThrow(/^.{10,400}HF_ENDPOINT/);
});

test("an index gives each shard once", () => {
  const weight_map = { a: "model-2.safetensors", b: "model-1.safetensors", c: "model-2.safetensors" };
  expect(shardNames("i", JSON.stringify({ weight_map }))).toEqual(["model-1.safetensors", "model-2.safetensors"]);
});

test.each([
  ["no JSON", "<html>", CheckpointError],
  ["no weight_map", "{}", HubError],
  ["an empty weight_map", '{"weight_map":{}}', HubError],
  ["a path upwards", '{"weight_map":{"a":"../../x.safetensors"}}', HubError],
  ["a control character", '{"weight_map":{"a":"\\u001b.safetensors"}}', HubError],
  ["a list", '{"weight_map":[["a"]]}', HubError],
  ["a folder", '{"weight_map":{"a":"x/y.safetensors"}}', HubError],
  ["another format", '{"weight_map":{"a":"pytorch_model.bin"}}', HubError],
  ["a number", '{"weight_map":{"a":1}}', HubError],
])("an index with %s is refused, naming the file", (_rule, text, expected) => {
  expect(() => shardNames("the-index", text)).toThrow(expected);
  expect(() => shardNames("the-index", text)).toThrow("the-index");
});

test.each([
  ["weights before all", [entry("README.md"), entry("m.gguf"), entry("onnx", { type: "directory" })], "m.gguf, onnx/"],
  ["else what there is", [entry("README.md")], "README.md"],
  ["nothing", [], "no file at all"],
])("other weights are described: %s", (_rule, entries, expected) => {
  expect(describeOtherWeights(entries)).toBe(expected);
});

test.each([
  ["files", { sideFiles: 2 }],
  ["bytes", { sideBytes: 29 }],
])("more small files than any checkpoint has are refused: %s", (_rule, limits) => {
  const files = ["a.json", "b.json", "c.json"].map((name) => ({ name, size: 10, etag: "" }));
  expect(sideFiles(...files)).toHaveLength(3);
  const select = () => selectSideFiles(question, files, { ...HUB_LIMITS, ...limits });
  expect(select).toThrow(HubError);
  expect(select).toThrow(/3 small files of 30 bytes/);
});
