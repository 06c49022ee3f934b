import type { ListFileEntry } from "@huggingface/hub";
import { expect, test } from "vitest";
import { CheckpointError, HubError } from "../../src/errors.js";
import { describeOtherWeights, selectSideFiles, shardNames, toRepoFile } from "../../src/hub/checkpoint-files.js";

const entry = (path: string, more: Partial<ListFileEntry> = {}): ListFileEntry => ({
  type: "file",
  path,
  size: 10,
  oid: "a".repeat(40),
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
  expect(selectSideFiles([{ name, size: 10, etag: "" }])).toHaveLength(1);
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
  expect(selectSideFiles([{ name, size: 10, etag: "" }])).toHaveLength(0);
});

test("a huge text file stays on the hub", () => {
  expect(selectSideFiles([{ name: "corpus.txt", size: 1e9, etag: "" }])).toHaveLength(0);
});

test("a large file is named by its sha256, a small one by its git hash", () => {
  const lfs = { oid: "b".repeat(64), size: 7, pointerSize: 134 };
  expect(toRepoFile(entry("x.safetensors", { lfs }))).toEqual({ name: "x.safetensors", size: 7, etag: lfs.oid });
  expect(toRepoFile(entry("config.json"))).toEqual({ name: "config.json", size: 10, etag: "a".repeat(40) });
});

test.each(["onnx/model.json", "../config.json", "..", "a\\b.json", "C:config.json"])("%s is passed over", (path) => {
  expect(toRepoFile(entry(path))).toBeUndefined();
});

test.each([
  ["a path for a hash", entry("config.json", { oid: "../../../x" })],
  ["no hash", entry("config.json", { oid: "" })],
  ["a negative size", entry("config.json", { size: -1 })],
])("%s is refused", (_rule, bad) => {
  expect(() => toRepoFile(bad)).toThrow(HubError);
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
