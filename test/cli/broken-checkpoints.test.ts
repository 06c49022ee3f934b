// Whatever is wrong with the input, the program says so in one line, exits with the code of that kind of error, writes
// nothing and touches nothing. Most rows call the built `main` in this process; some run the program itself. What
// a file of prompts or of a tokenizer is refused for, its reader says alone in most rows: the program has processes to start.

import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readPrompts } from "../../src/prompts/read-prompts.js";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import type { BrokenInput } from "../helpers/broken-checkpoints.js";
import { BROKEN_CONFIGS } from "../helpers/broken-checkpoints-config.js";
import { BROKEN_FILES } from "../helpers/broken-checkpoints-index.js";
import { BROKEN_PROMPTS, BROKEN_TOKENIZERS } from "../helpers/broken-checkpoints-prompts.js";
import { BROKEN_SAFETENSORS } from "../helpers/broken-checkpoints-safetensors.js";
import { BROKEN_TENSORS } from "../helpers/broken-checkpoints-tensors.js";
import { calibrationOf, type ExampleFolder, makeExample } from "../helpers/example-checkpoint.js";
import { TRIES_ALL } from "../helpers/how-much.js";
import { type CliResult, runCli, runMain, withoutTimes } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

/** Of so many rows one; all of them stand for the same rule. */
const OWN_PROCESS_EVERY = TRIES_ALL ? 40 : 240;
const PROGRAM_EVERY = TRIES_ALL ? 8 : 48;
const TIME_LIMIT_MS = 20_000;

const TABLES: Readonly<Record<string, readonly BrokenInput[]>> = {
  "safetensors files": BROKEN_SAFETENSORS,
  "indexes and folders": BROKEN_FILES,
  "config.json": BROKEN_CONFIGS,
  tensors: BROKEN_TENSORS,
  tokenizers: BROKEN_TOKENIZERS,
  prompts: BROKEN_PROMPTS,
};

/** By table: what reads the damaged file. It may find nothing wrong: then the program does, later. */
const READERS: Readonly<Record<string, (row: BrokenInput, example: ExampleFolder) => Promise<unknown>>> = {
  prompts: (row, example) => readPrompts(row.args?.(example)[1] ?? example.prompts),
  tokenizers: (_row, { model }) => openTokenizer(model),
};

test("the example is sound before it is damaged", async () => {
  const example = makeExample(temporaryFolder());
  expect(await runMain(calibrationOf(example))).toMatchObject({ exitCode: 0 });
});

for (const [table, rows] of Object.entries(TABLES)) {
  describe(table, () => {
    for (const [index, row] of rows.entries()) {
      const testRow = row.knownBug === undefined ? test : test.fails;
      const run = index % OWN_PROCESS_EVERY === 0 ? runCli : runMain;
      const read = index % PROGRAM_EVERY === 0 ? undefined : READERS[table];
      testRow(`${row.name}: exit ${row.exitCode}`, () => expectRefusal(row, run, read), TIME_LIMIT_MS);
    }
  });
}

async function expectRefusal(row: BrokenInput, run: typeof runCli, read?: (typeof READERS)[string]): Promise<void> {
  const example = makeExample(temporaryFolder(), row.shards ?? 1);
  row.damage(example);
  const refusal = await read?.(row, example).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (refusal !== undefined) {
    expect(refusal).toMatchObject({
      exitCode: row.exitCode,
      message: expect.stringMatching(row.says ?? /./) as string,
    });
    return;
  }
  const before = snapshot(example.root);
  const result = await run(calibrationOf(example, ...(row.args?.(example) ?? [])));
  if (row.exitCode === 0) {
    expect(result).toMatchObject({ exitCode: 0 });
    expect(existsSync(example.output)).toBe(true);
    return;
  }
  expectOneLine(result, row);
  expect(snapshot(example.root)).toEqual(before);
}

function expectOneLine({ exitCode, stdout, stderr }: CliResult, expected: BrokenInput): void {
  const lines = withoutTimes(stderr).trimEnd().split("\n");
  const message = lines.at(-1) ?? "";
  expect(message).toMatch(/^Error: \S/);
  expect(message).toMatch(expected.says ?? /./);
  expect(lines.filter((line) => line.startsWith("Error: "))).toHaveLength(1);
  expect(lines.slice(0, -1).filter((line) => !/^(Reading|Tokenizing|Calibrating) /.test(line))).toEqual([]);
  expect(stderr).not.toContain("    at ");
  expect(stderr).not.toContain("\u001b");
  expect(stdout).toBe("");
  expect(exitCode).toBe(expected.exitCode);
}
