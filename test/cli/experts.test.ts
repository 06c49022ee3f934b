// A mixture of experts, end to end: which experts the prompts have reached is in what is printed and what is written.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { copyGolden } from "../helpers/golden-checkpoints.js";
import { addLetterTokenizer } from "../helpers/letter-tokenizer.js";
import { runCli } from "../helpers/run-cli.js";

interface Result {
  readonly tokens: number;
  readonly warnings: readonly string[];
  readonly experts: readonly { readonly layer: number; readonly tokens: readonly number[] }[];
}

test("tokens of each expert are in --json and kv_scales.json, and those that computed none are warned of", async () => {
  const folder = await copyGolden("qwen3_moe-normalized");
  addLetterTokenizer(folder);
  writeFileSync(join(folder, "prompts.txt"), "ab");
  const data = join(folder, "prompts.txt");
  const output = join(folder, "out");
  const result = await runCli([folder, "--data", data, "--output", output, "--provider", "cpu", "--json"]);
  expect(result.exitCode).toBe(0);
  const { experts, tokens, warnings } = JSON.parse(result.stdout) as Result;
  expect(experts.map(({ layer }) => layer)).toEqual([0, 1]);
  for (const layer of experts) expect(layer.tokens.reduce((sum, count) => sum + count, 0)).toBe(2 * tokens);
  expect(JSON.parse(readFileSync(join(output, "kv_scales.json"), "utf8"))).toMatchObject({ experts });
  // Two tokens reach at most four of six experts.
  expect(warnings.join("\n")).toMatch(/[Ll]ayer \d: \d of 6 experts computed no token of the prompts/);
});
