// The address of a model's page, as it is copied from a browser: which repository and revision it names, and what it does
// not name.

import { expect, test } from "vitest";
import { UsageError } from "../../src/errors.js";
import { hubModelOf } from "../../src/hub/hub-url.js";

const SHA = "0123456789abcdef0123456789abcdef01234567";

test.each([
  ["https://huggingface.co/org/name", undefined],
  ["https://huggingface.co/org/name/", undefined],
  ["https://huggingface.co/org/name?library=transformers#files", undefined],
  ["http://huggingface.co/org/name", undefined],
  ["https://www.huggingface.co/org/name", undefined],
  ["https://hf.co/org/name", undefined],
  ["HTTPS://huggingface.co/org/name", undefined],
  ["https://mirror.example:8443/org/name", undefined],
  ["https://huggingface.co/org/name/discussions", undefined],
  ["https://huggingface.co/org/name/tree/main", "main"],
  ["https://huggingface.co/org/name/tree/main/", "main"],
  ["https://huggingface.co/org/name/tree/v1.0%2Frc", "v1.0/rc"],
  ["https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "refs/pr/1"],
  ["https://huggingface.co/org/name/tree/refs/pr/1", "refs/pr/1"],
  [`https://huggingface.co/org/name/commit/${SHA}`, SHA],
  ["https://huggingface.co/org/name/blob/main/config.json", "main"],
  ["https://huggingface.co/org/name/resolve/main/model.safetensors", "main"],
])("%s is org/name, revision %s", (address, revision) => {
  const env = { HF_ENDPOINT: "https://mirror.example:8443/" };
  expect(hubModelOf(address, env)).toEqual({ repo: "org/name", revision });
});

test.each(["org/name", "./folder", "huggingface.co", "C:\\models\\https", ""])("%s is no web address", (text) => {
  expect(hubModelOf(text, {})).toBeUndefined();
});

test.each([
  ["https://example.com/org/name", /expected a folder, a hub id .org\/name. or its page/],
  ["https://huggingface.co", /expected the page of a model/],
  ["https://huggingface.co/org", /expected the page of a model/],
  ["https://huggingface.co/datasets/org/name", /is a data set, not a model/],
  ["https://huggingface.co/spaces/org/name", /is a space, not a model/],
  ["https://huggingface.co/org/name/tree/main/onnx", /names a folder inside the repository.*give org\/name/],
  ["https://huggingface.co/org/name/tree/", /names no revision.*--revision/],
  ["https://huggingface.co/org/..%2f..%2fname", /expected the page of a model/],
])("%s names no model", (address, message) => {
  expect(() => hubModelOf(address, {})).toThrow(UsageError);
  expect(() => hubModelOf(address, {})).toThrow(message);
});
