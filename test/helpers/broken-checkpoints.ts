// Every broken input that the program must refuse: the rows of test/cli/broken-checkpoints.test.ts, and what they share.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ExampleFolder, SINGLE_FILE } from "./example-checkpoint.js";
import { SafetensorsFile } from "./example-checkpoint-safetensors.js";

export interface BrokenInput {
  readonly name: string;
  /** What the damage deserves; 0 when it leaves a checkpoint that is sound. */
  readonly exitCode: number;
  /** What the message must say. */
  readonly says?: RegExp;
  readonly damage: (example: ExampleFolder) => void;
  readonly args?: (example: ExampleFolder) => readonly string[];
  /** Why the program does not do this yet. The row fails on the day it does. */
  readonly knownBug?: string;
  /** In how many shards the example is before the damage; one file without it. */
  readonly shards?: number;
}

export const CHECKPOINT_UNREADABLE = 3;
export const MODEL_NOT_SUPPORTED = 4;
export const WRONG_USAGE = 2;

/** Writes a file of the checkpoint. */
export function put(name: string, content: string | Buffer): BrokenInput["damage"] {
  return ({ model }) => writeFileSync(join(model, name), content);
}

/** Changes a JSON file of the checkpoint. */
export function editJson<Json = Record<string, unknown>>(
  name: string,
  edit: (json: Json) => void,
): BrokenInput["damage"] {
  return ({ model }) => {
    const json = JSON.parse(readFileSync(join(model, name), "utf8")) as Json;
    edit(json);
    writeFileSync(join(model, name), JSON.stringify(json, null, 2));
  };
}

/** Sets keys of config.json; undefined removes one. */
export function setConfig(keys: Readonly<Record<string, unknown>>): BrokenInput["damage"] {
  return editJson("config.json", (config) => Object.assign(config, keys));
}

/** Changes the bytes of model.safetensors. */
export function editBytes(edit: (bytes: Buffer) => Buffer): BrokenInput["damage"] {
  return ({ model }) => {
    const path = join(model, SINGLE_FILE);
    writeFileSync(path, edit(readFileSync(path)));
  };
}

/** Changes the tensors of model.safetensors; the file stays well-formed. */
export function editTensors(edit: (file: SafetensorsFile) => void): BrokenInput["damage"] {
  return editBytes((bytes) => {
    const file = SafetensorsFile.parse(bytes);
    edit(file);
    return file.bytes();
  });
}

/** Numbers in [0, 1) that depend on the seed alone (Lehmer's generator of 31 bits). */
export function seededRandom(seed: number): () => number {
  let state = seed % 2147483647 || 1;
  return () => {
    state = (state * 48271) % 2147483647;
    return (state - 1) / 2147483646;
  };
}

/** A value as a row's name shows it. */
export function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}
