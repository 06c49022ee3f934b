// What a record calls its inputs: ids and base names, and a command line that a shell reads back as it was.

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type CommandFacts, commandOf, commandWith, modelName } from "../../src/pipeline/run-names.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

const COMMIT = "0123456789".repeat(4);
const FACTS: CommandFacts = {
  model: "acme/tiny",
  commit: COMMIT,
  format: "tgi",
  dtype: "float8_e4m3fn",
  headroom: 1.1,
  serving: { tokens: 1_000_000, exceedance: 0.05 },
  data: "shipped",
  samples: 256,
  sequenceLength: 2048,
  seed: 7,
  provider: "cpu",
  assumeHarmless: [],
};

test.each([
  ["a folder", "my-model", { model: "my-model", commit: undefined }],
  ["a snapshot in a hub's cache", `models--acme--tiny/snapshots/${COMMIT}`, { model: "acme/tiny", commit: COMMIT }],
  ["one of a model without an organization", `models--gpt2/snapshots/${COMMIT}`, { model: "gpt2", commit: COMMIT }],
  ["a folder that only looks like one", "models--acme--tiny/snapshots/main", { model: "main", commit: undefined }],
])("%s has a name", async (_what, path, name) => {
  const folder = join(temporaryFolder(), path);
  mkdirSync(folder, { recursive: true });
  expect(await modelName(folder)).toEqual(name);
});

test("the command has the commit and every option that changes scales", () => {
  expect(commandOf(FACTS)).toBe(
    `create-kv-scales acme/tiny --revision ${COMMIT} --format tgi --dtype float8_e4m3fn --headroom 1.1 --samples 256 --sequence-length 2048 --seed 7 --provider cpu`,
  );
});

test.each([
  { headroom: "auto", options: "--headroom auto --serving-tokens 1000000 --exceedance 0.05 --samples 256" },
  { samples: "auto", options: "--headroom 1.1 --serving-tokens 1000000 --exceedance 0.05 --samples auto" },
] as const)("the command says what levels are for where they matter: $options", ({ options, ...changes }) => {
  expect(commandOf({ ...FACTS, ...changes })).toContain(` ${options} --sequence-length`);
});

test("the command names a data set of the hub by its commit", () => {
  const data = { data: "acme/talk", dataCommit: COMMIT, dataConfig: "small", dataSplit: "train", dataColumn: "body" };
  expect(commandOf({ ...FACTS, ...data })).toContain(
    `--data acme/talk --data-revision ${COMMIT} --data-config small --data-split train --data-column body --samples`,
  );
});

test("a shell reads names of any kind back as they are", () => {
  const names = { model: 'it\'s $HOME; a "model"', data: "two words.txt", assumeHarmless: ["a.b", "c*"] };
  const command = commandOf({ ...FACTS, ...names, commit: undefined });
  const words = execFileSync("bash", ["-c", `printf '%s\\n' ${command}`], { encoding: "utf8" }).split("\n");
  expect(words).toEqual(expect.arrayContaining([names.model, names.data, ...names.assumeHarmless]));
});

test("of converted scales the command is the one that would have given them", () => {
  const to = { format: "tgi-separate", dtype: "float8_e4m3fnuz" } as const;
  for (const facts of [FACTS, { ...FACTS, model: "a --format tgi", commit: undefined }]) {
    expect(commandWith(commandOf(facts), facts, to)).toBe(commandOf({ ...facts, ...to }));
  }
  expect(commandWith("rm -rf", FACTS, to)).toBeUndefined();
  expect(commandWith(undefined, FACTS, to)).toBeUndefined();
});
