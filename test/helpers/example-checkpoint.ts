// A checkpoint that calibrates in a blink: the golden Llama of three layers (made by transformers) with a tokenizer of
// one token per character. As one file or in shards, with prompts beside it.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SafetensorsFile } from "./example-checkpoint-safetensors.js";
import { REPOSITORY } from "./run-cli.js";

const GOLDEN = join(REPOSITORY, "test/golden/checkpoints/llama-gqa");
/** The weights that every example is made from. */
export const GOLDEN_WEIGHTS = join(GOLDEN, "model.safetensors");

export const EXAMPLE = { layers: 3, kvHeads: 2, headDim: 8, hidden: 48, intermediate: 64, vocabulary: 128 } as const;
export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

const PROMPTS: readonly string[] = [
  "The ferryman kept his accounts in chalk on the wheelhouse door.",
  "4738 x 296 = 1402448",
  "const scale = absmax / 448;",
  "Salt, acid, fat, heat: taste it again.",
  "What is a cache?",
  "a",
];

/** What lies in the folder of an example: the checkpoint and prompts that are quick to calibrate with. */
export interface ExampleFolder {
  readonly root: string;
  readonly model: string;
  readonly prompts: string;
  /** Where the tests let the result go. */
  readonly output: string;
}

/** Makes the example in a folder of its own. @param shards 1: one file, model.safetensors; more: an index */
export function makeExample(root: string, shards = 1): ExampleFolder {
  const example = {
    root,
    model: join(root, "model"),
    prompts: join(root, "prompts.txt"),
    output: join(root, "output"),
  };
  mkdirSync(example.model, { recursive: true });
  copyFileSync(join(GOLDEN, "config.json"), join(example.model, "config.json"));
  copyFileSync(join(GOLDEN, SINGLE_FILE), join(example.model, SINGLE_FILE));
  writeFileSync(join(example.model, "tokenizer.json"), tokenizerJson());
  writeFileSync(example.prompts, `${PROMPTS.join("\n")}\n`);
  if (shards > 1) splitIntoShards(example.model, shards);
  return example;
}

/** The arguments of a quick calibration of an example. */
export function calibrationOf({ model, output, prompts }: ExampleFolder, ...more: readonly string[]): string[] {
  return [model, "-o", output, "--data", prompts, ...more];
}

/** A tokenizer of one token per character: U+0020 to U+007E, and the newline. */
function tokenizer(): TokenizerFile {
  const characters = ["\n", ...Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))];
  const vocab: Record<string, number> = { "<unk>": 0, "<s>": 1, "</s>": 2 };
  for (const [index, character] of characters.entries()) vocab[character] = 3 + index;
  return {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "Split", pattern: { Regex: "" }, behavior: "Isolated", invert: false },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab, unk_token: "<unk>" },
  };
}

export interface TokenizerFile {
  [key: string]: unknown;
  model: { type: string; vocab: Record<string, number>; unk_token: string };
}

function tokenizerJson(): string {
  return JSON.stringify(tokenizer());
}

/** Turns model.safetensors into shards with an index, as save_pretrained does. */
function splitIntoShards(model: string, shards: number): void {
  const whole = SafetensorsFile.parse(readFileSync(join(model, SINGLE_FILE)));
  const names = whole.names();
  const perShard = Math.ceil(names.length / shards);
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard < shards; shard++) {
    const file = shardName(shard, shards);
    const own = names.slice(shard * perShard, (shard + 1) * perShard);
    writeFileSync(join(model, file), whole.pick(own).bytes());
    for (const name of own) weightMap[name] = file;
  }
  rmSync(join(model, SINGLE_FILE));
  const index = { metadata: { total_size: whole.dataBytes() }, weight_map: weightMap };
  writeFileSync(join(model, INDEX_FILE), JSON.stringify(index, null, 2));
}

export function shardName(shard: number, shards: number): string {
  const number = (value: number) => String(value).padStart(5, "0");
  return `model-${number(shard + 1)}-of-${number(shards)}.safetensors`;
}
