// Broken indexes of sharded checkpoints, and checkpoints without the files that they must have.

import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BrokenInput, CHECKPOINT_UNREADABLE, editJson, put } from "./broken-checkpoints.js";
import { INDEX_FILE, SINGLE_FILE, shardName } from "./example-checkpoint.js";
import { SafetensorsFile } from "./example-checkpoint-safetensors.js";

const exitCode = CHECKPOINT_UNREADABLE;
const SHARDS = 2;
const SECOND_SHARD = shardName(1, SHARDS);
const NORM = "model.norm.weight";
const EMBEDDING = "model.embed_tokens.weight";

interface Index {
  weight_map: unknown;
}

/** Lets the index say that a tensor is elsewhere. */
function map(tensor: string, file: unknown): BrokenInput["damage"] {
  return editJson<{ weight_map: Record<string, unknown> }>(INDEX_FILE, ({ weight_map }) => {
    weight_map[tensor] = file;
  });
}

/** Acts on a path of the checkpoint. */
function at(name: string, act: (path: string, model: string) => void): BrokenInput["damage"] {
  return ({ model }) => act(join(model, name), model);
}

/** Removes what is at a path and puts something else there. */
function replace(path: string, put: () => void): void {
  rmSync(path, { recursive: true });
  put();
}

/** Puts the embedding of the first shard into the second, too. */
function repeatEmbedding(withOtherBytes: boolean): BrokenInput["damage"] {
  return ({ model }) => {
    const shard = (index: number) => SafetensorsFile.parse(readFileSync(join(model, shardName(index, SHARDS))));
    const second = shard(1);
    const embedding = shard(0).tensors.get(EMBEDDING);
    if (embedding === undefined) throw new Error("the first shard has no embedding");
    const data = withOtherBytes ? Buffer.from(embedding.data.map((byte) => byte ^ 1)) : embedding.data;
    second.tensors.set(EMBEDDING, { ...embedding, data });
    writeFileSync(join(model, shardName(1, SHARDS)), second.bytes());
  };
}

const ROWS: readonly [name: string, damage: BrokenInput["damage"], says: RegExp][] = [
  ["is not there", at(INDEX_FILE, (path) => rmSync(path)), /neither model\.safetensors nor model\.safetensors\.index/],
  ["is empty", put(INDEX_FILE, ""), /index\.json: not valid JSON/],
  ["is not JSON", put(INDEX_FILE, "weight_map:\n  a: b\n"), /index\.json: not valid JSON/],
  ["is cut off", at(INDEX_FILE, (path) => writeFileSync(path, readFileSync(path).subarray(0, 300))), /not valid JSON/],
  ["is not UTF-8", put(INDEX_FILE, Buffer.from([0x7b, 0xff, 0x7d])), /cannot be read/],
  ["is null", put(INDEX_FILE, "null"), /expected a JSON object/],
  ["is a list", put(INDEX_FILE, "[]"), /expected a JSON object/],
  ["is an empty object", put(INDEX_FILE, "{}"), /weight_map/],
  ["is a folder", at(INDEX_FILE, (path) => replace(path, () => mkdirSync(path))), /cannot be read/],
  ...[undefined, null, [], "x", 5].map(
    (value) =>
      [
        `has ${JSON.stringify(value) ?? "no"} weight_map`,
        editJson<Index>(INDEX_FILE, (index) => Object.assign(index, { weight_map: value })),
        /weight_map/,
      ] as [string, BrokenInput["damage"], RegExp],
  ),
  [
    "has an empty weight_map",
    editJson<Index>(INDEX_FILE, (index) => Object.assign(index, { weight_map: {} })),
    /empty/,
  ],
  ["names a number as a file", map(NORM, 1), /expected the name of a \.safetensors file/],
  ["names null as a file", map(NORM, null), /expected the name of a \.safetensors file/],
  ["names a file above", map(NORM, "../model-00001-of-00002.safetensors"), /expected the name/],
  ["names an absolute path", map(NORM, "/etc/passwd.safetensors"), /expected the name/],
  ["names a file in a folder", map(NORM, "weights/model.safetensors"), /expected the name/],
  ["names the folder above", map(NORM, ".."), /expected the name/],
  ["names an empty file name", map(NORM, ""), /expected the name/],
  ["names a pickle", map(NORM, "pytorch_model.bin"), /expected the name/],
  ["names a file with a NUL", map(NORM, "a\u0000.safetensors"), /is not there/],
  [
    "names a shard that is absent",
    map(NORM, "model-00003-of-00003.safetensors"),
    /not there. Download the missing shard/,
  ],
  ["names the wrong shard", map(NORM, shardName(0, SHARDS)), /said to be in .*, but is in model-00002/],
  ["names a tensor of no shard", map("model.layers.9.x.weight", SECOND_SHARD), /is in no shard/],
  [
    "names one shard only",
    editJson<{ weight_map: Record<string, string> }>(INDEX_FILE, (index) => {
      index.weight_map = Object.fromEntries(
        Object.entries(index.weight_map).filter(([, file]) => file !== SECOND_SHARD),
      );
    }),
    /is missing/,
  ],
  [
    "is right, but a shard is absent",
    at(SECOND_SHARD, (path) => rmSync(path)),
    /not there. Download the missing shard/,
  ],
  ["is right, but a shard is empty", put(SECOND_SHARD, ""), /the file has 0 bytes/],
  [
    "is right, but a shard is a folder",
    at(SECOND_SHARD, (path) => replace(path, () => mkdirSync(path))),
    /EISDIR|expected|cannot/,
  ],
  [
    "is right, but a shard is a link to nothing",
    at(SECOND_SHARD, (path) => replace(path, () => symlinkSync("nowhere", path))),
    /cannot be opened/,
  ],
  [
    "is right, but a shard is a link to itself",
    at(SECOND_SHARD, (path) => replace(path, () => symlinkSync(SECOND_SHARD, path))),
    /cannot be opened/,
  ],
  [
    "is right, but a tensor is in two shards with other bytes",
    repeatEmbedding(true),
    /is also in .* differ in their bytes/,
  ],
  [
    "is right, but the shards have changed places",
    ({ model }) => {
      const [first, second] = [0, 1].map((shard) => join(model, shardName(shard, SHARDS))) as [string, string];
      renameSync(first, `${first}.aside`);
      renameSync(second, first);
      renameSync(`${first}.aside`, second);
    },
    /said to be in/,
  ],
];

const FILES: readonly [name: string, damage: BrokenInput["damage"], says: RegExp][] = [
  ["has no weights", at(SINGLE_FILE, (path) => rmSync(path)), /has neither model\.safetensors nor/],
  [
    "has weights of PyTorch only",
    at(SINGLE_FILE, (path, model) => renameSync(path, join(model, "pytorch_model.bin"))),
    /PyTorch's format.*Convert them/,
  ],
  [
    "has a shard but no index",
    at(SINGLE_FILE, (path, model) => renameSync(path, join(model, shardName(0, 2)))),
    /Download the index/,
  ],
  [
    "has a folder in place of the weights",
    at(SINGLE_FILE, (path) => replace(path, () => mkdirSync(path))),
    /EISDIR|expected|cannot/,
  ],
  ["is an empty folder", ({ model }) => replace(model, () => mkdirSync(model)), /config\.json: not found/],
  ["is not there", ({ model }) => rmSync(model, { recursive: true }), /no such folder/],
  [
    "is a file",
    ({ model }) => replace(model, () => writeFileSync(model, "x")),
    /expected a checkpoint folder, found a file/,
  ],
  ["is a link to nothing", ({ model }) => replace(model, () => symlinkSync("nowhere", model)), /no such folder/],
];

export const BROKEN_FILES: readonly BrokenInput[] = [
  {
    name: "a tensor is in two shards with the same bytes",
    exitCode: 0,
    damage: repeatEmbedding(false),
    shards: SHARDS,
  },
  ...ROWS.map(([name, damage, says]) => ({ name: `the index ${name}`, exitCode, says, damage, shards: SHARDS })),
  ...FILES.map(([name, damage, says]) => ({ name: `the checkpoint ${name}`, exitCode, says, damage })),
];
