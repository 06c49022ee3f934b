// Tokens that end a text: of generation_config.json, else of config.json.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readEndTokens } from "../../src/checkpoint/end-tokens.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError } from "../../src/errors.js";
import { configOf, copyGolden, type Json } from "../helpers/golden-checkpoints.js";

async function endTokensWith(config: Json, generation?: Json | string): Promise<readonly number[]> {
  const { eos_token_id: _eos, ...others } = configOf("llama-gqa");
  const folder = await copyGolden("llama-gqa", { ...others, ...config });
  const text = typeof generation === "string" ? generation : JSON.stringify(generation);
  if (generation !== undefined) await writeFile(join(folder, "generation_config.json"), text);
  return readEndTokens(await openCheckpoint(folder));
}

test.each<[string, Json, Json | undefined, readonly number[]]>([
  ["one of generation_config.json", { eos_token_id: 1 }, { eos_token_id: 7 }, [7]],
  ["a list of generation_config.json", { eos_token_id: 1 }, { eos_token_id: [7, 9] }, [7, 9]],
  ["that of config.json where generation_config.json has none", { eos_token_id: 1 }, { top_p: 0.9 }, [1]],
  [
    "that of config.json where generation_config.json says null",
    { eos_token_id: [1, 2] },
    { eos_token_id: null },
    [1, 2],
  ],
  ["that of config.json without the other file", { eos_token_id: 0 }, undefined, [0]],
  ["none where nobody names one", {}, undefined, []],
])("%s", async (_rule, config, generation, expected) => {
  expect(await endTokensWith(config, generation)).toEqual(expected);
});

test.each<[string, Json | string, RegExp]>([
  ["a text", { eos_token_id: "<end>" }, /generation_config\.json: eos_token_id: expected a token id.*"<end>"/],
  ["a negative id", { eos_token_id: [1, -1] }, /found \[1,-1\]/],
  ["not JSON", "{", /generation_config\.json: not valid JSON/],
])("%s is a CheckpointError that names the file", async (_what, generation, says) => {
  const error = await endTokensWith({}, generation).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CheckpointError);
  expect(error).toHaveProperty("message", expect.stringMatching(says));
});
