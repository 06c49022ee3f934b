// The benchmark, kept alive: what it reports of a tiny run without transformers, what it refuses, and its arithmetic.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { SHAPES, shape, tensorsOfLayer } from "../../bench/checkpoint-shapes.js";
import { runMeasured } from "../../bench/measured-process.js";
import type { Run } from "../../bench/programs.js";
import { resultMarkdown } from "../../bench/result-markdown.js";
import { lengthsOf, type Row, rowsIn, tokensOf } from "../../bench/rows.js";
import { flopsPerToken, largestDifference, spreadOf, timeRatios } from "../../bench/summary.js";
import { randomTokenIds, textOf, writeWordTokenizer } from "../../bench/word-prompts.js";
import { tensorsOfLayer as tensorsOfDescribedLayer } from "../../src/architectures/block-facts.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { TRIES_ALL } from "../helpers/how-much.js";
import { encodeWith } from "../helpers/local-tokenizer.js";
import { REPOSITORY, startProgram } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

const BENCH = join(REPOSITORY, "bench/bench.js");
const TINY = ["--shape", "smollm2-135m", "--layers", "1", "--rows", "2x8,1x16", "--repeats", "1"];

function runBench(args: readonly string[], folder: string) {
  return startProgram(process.execPath, [BENCH, ...args], { env: { TMPDIR: folder } }).done;
}

/** One checkpoint for all of them: making it is most of the time. */
const shared = mkdtempSync(join(tmpdir(), "kv-scales-bench-"));
const CHECKPOINT = ["--checkpoint", join(shared, "checkpoint")];
afterAll(() => rmSync(shared, { recursive: true, force: true }));

describe.skipIf(!TRIES_ALL)("a run of create-kv-scales alone", () => {
  test("reports every row, keeps the checkpoint when told to, and leaves nothing else", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "RESULTS.md");
    writeFileSync(file, "# Results\n");
    const args = [...TINY, "--skip-transformers", ...CHECKPOINT, "--append", file, "--json"];
    const first = await runBench(args, folder);
    expect(first.exitCode, first.stderr).toBe(0);
    const result = JSON.parse(first.stdout);
    expect(result).toMatchObject({ shape: "smollm2-135m", layers: 1, bf16Product: null, differences: [] });
    expect(result.rows.map((row: { prompts: number; tokens: number }) => [row.prompts, row.tokens])).toEqual([
      [2, 8],
      [1, 16],
    ]);
    for (const { wallSeconds, loadSeconds, computeSeconds, tokensPerSecond, absmax, shareOfPeak } of result.rows) {
      expect(Math.min(loadSeconds.median, computeSeconds.median)).toBeGreaterThan(0);
      expect(loadSeconds.median + computeSeconds.median).toBeLessThan(wallSeconds.median);
      expect(tokensPerSecond.median).toBeCloseTo(16 / computeSeconds.median, 6);
      expect(absmax).toEqual([{ k: expect.any(Number), v: expect.any(Number) }]);
      expect(shareOfPeak).toBeNull();
    }
    expect(readFileSync(file, "utf8")).toMatch(/^# Results\n\n## .*smollm2-135m, 1 layers.*\| 2 × 8 .*\| 1 × 16 /s);
    expect([readdirSync(folder), readdirSync(shared)]).toEqual([["RESULTS.md"], ["checkpoint"]]);

    // The second run takes the checkpoint as it is, and what is measured on it is the same.
    const second = await runBench([...args, "--rows", "1x16"], folder);
    expect(second.stderr).not.toContain("Making");
    const values = (stdout: string) => JSON.parse(stdout).rows.map((row: { absmax: unknown }) => row.absmax);
    expect(values(second.stdout)).toEqual(values(first.stdout).slice(1));

    const other = await runBench([...args, "--layers", "2"], folder);
    expect([other.exitCode, other.stderr]).toEqual([1, expect.stringMatching(/Error: .* holds another checkpoint/)]);
  });

  test.each<[string, string[], RegExp]>([
    ["Python is not there", ["--python", "no-such-python"], /Error: no-such-python: not found.*--skip-transformers/],
    ["PyTorch is not there", ["--python", process.execPath], /Error: .*The comparison needs a Python with PyTorch/],
    ["an option is not one of the program's", ["--skip-transformers", "--", "--no-such"], /error: unknown option/],
    ["a row is not a row", ["--rows", "8"], /Expected prompts x tokens/],
    ["the shape has no experts", ["--skip-transformers", "--experts", "4"], /Error: smollm2-135m has no experts/],
  ])("says why it cannot run: %s", async (_, args, says) => {
    const folder = temporaryFolder();
    const { exitCode, stderr } = await runBench([...TINY, ...CHECKPOINT, ...args], folder);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(says);
    expect(stderr).not.toMatch(/\n +at /);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe.skipIf(!TRIES_ALL || process.platform === "win32")(
  "a run beside another program (a stand-in for Python's)",
  () => {
    const PEAK = {
      size: 64,
      rounds: 5,
      flops_per_second: 1e12,
      python: "3",
      torch: "2",
      cuda: null,
      transformers: "5",
    };

    /** Stands in for Python: answers to the two scripts as they would, with the given absmax and number of tokens. */
    function standIn(folder: string, absmax: object, tokens: number): string {
      const answer = { tokens, load_seconds: 0.5, compute_seconds: 0.25, absmax: [absmax] };
      const path = join(folder, "python");
      const code = `const [, , script, , , output] = process.argv;
      if (script.endsWith("matmul_peak.py")) console.log(${JSON.stringify(JSON.stringify(PEAK))});
      else { require("fs").writeFileSync(output, ""); console.log(${JSON.stringify(JSON.stringify(answer))}); }`;
      writeFileSync(path, `#!${process.execPath}\n${code}\n`, { mode: 0o755 });
      return path;
    }

    async function runBeside(absmax: object, tokens = 16) {
      const folder = temporaryFolder();
      const file = join(folder, "RESULTS.md");
      const options = ["--rows", "2x8", "--python", standIn(folder, absmax, tokens), "--append", file, "--json"];
      const run = await runBench([...TINY, ...options, ...CHECKPOINT], folder);
      return { ...run, kept: existsSync(file) };
    }

    test("shares are of the measured peak; results that agree are kept, others are not", async () => {
      const far = await runBeside({ k: 1000, v: 1000 });
      expect([far.exitCode, far.kept]).toEqual([1, false]);
      expect(far.stderr).toMatch(/Error: The two programs disagree on the absmax: 9\d\.\d % \([KV] of layer 0\)/);
      const { rows } = JSON.parse(far.stdout);
      // 64 tokens/s through one layer of SmolLM2-135M's shape: 2 FLOP for each of its 3,538,944 weights.
      expect(rows[1]).toMatchObject({ program: "transformers", tokensPerSecond: { median: 64 } });
      expect(rows[1].shareOfPeak).toBeCloseTo((64 * 2 * 3_538_944) / 1e12, 12);

      const equal = await runBeside(rows[0].absmax[0]);
      expect([equal.exitCode, equal.kept], equal.stderr).toEqual([0, true]);
      expect(JSON.parse(equal.stdout).differences).toEqual([
        { prompts: 2, tokens: 8, layer: 0, side: "k", relative: 0 },
      ]);
    });

    test("another number of tokens is no comparison", async () => {
      const { exitCode, stderr } = await runBeside({ k: 1, v: 1 }, 15);
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining("transformers ran 15 tokens instead of 2 × 8")]);
    });
  },
);

test("times are compared round by round", () => {
  const run = (computeSeconds: number, wallSeconds: number) => ({ computeSeconds, wallSeconds }) as Run;
  const [ours, theirs] = [
    [run(1, 4), run(6, 8), run(2, 3)],
    [run(2, 4), run(3, 4), run(2, 6)],
  ];
  expect(timeRatios(ours, theirs)).toEqual({
    forward: { median: 1, least: 0.5, most: 2 },
    wall: { median: 1, least: 0.5, most: 2 },
  });
});

test.each<[string, Row[] | undefined]>([
  [
    "128x512,4x2048",
    [
      { prompts: 128, tokens: 512 },
      { prompts: 4, tokens: 2048 },
    ],
  ],
  ["64x32-256", [{ prompts: 64, shortest: 32, tokens: 256 }]],
  ["64x256-32", undefined],
  ["1x2-3", undefined],
  ["64x0-8", undefined],
  ["64x", undefined],
])("rows in %s", (text, rows) => {
  expect(rowsIn(text)).toEqual(rows);
});

test("prompts of mixed lengths are as many as they are said to be, from the shortest to the longest, and not in order", () => {
  const lengths = lengthsOf({ prompts: 5, shortest: 10, tokens: 50 });
  expect(lengths).toEqual([10, 40, 20, 50, 30]);
  expect(tokensOf({ prompts: 5, shortest: 10, tokens: 50 })).toBe(150);
  expect(lengthsOf({ prompts: 1, tokens: 8 })).toEqual([8]);
});

test("a text in words encodes to the ids it was made of", async () => {
  const folder = temporaryFolder();
  await writeWordTokenizer(folder, 5000);
  const tokenizer = await openTokenizer(folder);
  for (const ids of [...randomTokenIds([300, 300, 300, 7, 300], 5000), [0, 4999, 0, 1, 10, 100, 1000]]) {
    expect(encodeWith(tokenizer, { source: "test", text: textOf(ids) }).ids).toEqual(ids);
  }
  expect(new Set(randomTokenIds([300], 5000)[0]).size).toBeGreaterThan(200);
});

test("arithmetic per token is 2 FLOP per weight of the linear layers", () => {
  // Llama-3-8B: 6,979,321,856 weights in its layers' linear maps, of which 218,103,808 in each layer.
  const llama = shape(4096, 14336, 32, 32, 8, 128256);
  expect(flopsPerToken(llama, "layer")).toBe(2 * 6_979_321_856);
  expect(flopsPerToken(llama, "keys-values")).toBe(2 * (31 * 218_103_808 + 2 * 1024 * 4096));
  // Of Qwen3-30B-A3B's layers a token meets 62.1 million weights: 18.9 of attention, the router, 8 of 128 experts.
  const { "qwen3-30b-a3b": mixture } = SHAPES;
  if (mixture === undefined) throw new Error("the shape is gone");
  const experts = 8 * 3 * 2048 * 768;
  expect(flopsPerToken(mixture, "layer")).toBe(2 * 48 * (2 * 2048 * 4096 + 2 * 2048 * 512 + 128 * 2048 + experts));
  // Of eight layers of Qwen3-Next-80B two have attention, of the last one K and V alone: 10 of 512 experts, and the shared one.
  const { "qwen3-next-80b": hybrid } = SHAPES;
  if (hybrid === undefined) throw new Error("the shape is gone");
  const feedForward = 11 * 3 * 2048 * 512 + 512 * 2048 + 2048;
  const recurrent = (12_288 + 64 + 4096) * 2048 + feedForward;
  const attention = (8192 + 4096) * 2048 + 2 * 2048 * 512 + feedForward;
  expect(flopsPerToken({ ...hybrid, num_hidden_layers: 8 }, "keys-values")).toBe(
    2 * (6 * recurrent + attention + 2 * 2048 * 512),
  );
});

test.each(Object.entries(SHAPES))("create-kv-scales knows every tensor of %s, and needs no other", (_name, whole) => {
  const config = { ...whole, num_hidden_layers: Math.min(whole.num_hidden_layers, 8) };
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => tensorsOfLayer(config, layer)).flat();
  const { hidden_size: hidden, vocab_size: vocabulary } = config;
  const tensors = new Map(
    [...layers, ["model.embed_tokens.weight", [vocabulary, hidden]] as const].map(
      ([name, dimensions, dtype = "BF16"]) => [
        name,
        { name, dtype, shape: dimensions, file: "", offset: 0, byteLength: 0 } as const,
      ],
    ),
  );
  const decoder = describeModel(JSON.parse(JSON.stringify(config)), tensors);
  const used = [...decoder.layers.flatMap((layer) => [...tensorsOfDescribedLayer(layer).keys()])];
  expect(used.toSorted()).toEqual(layers.map(([name]) => name).toSorted());
});

test.each([
  [[3], { median: 3, least: 3, most: 3 }],
  [[9, 1, 2], { median: 2, least: 1, most: 9 }],
  [[4, 1, 2, 9], { median: 3, least: 1, most: 9 }],
])("the median of %j stands between its extremes", (values, spread) => {
  expect(spreadOf(values)).toEqual(spread);
});

test.each<[string, [number, number][], [number, number][], [number, string, number]]>([
  ["equal", [[1, 2]], [[1, 2]], [0, "k", 0]],
  [
    "one side of one layer",
    [
      [1, 2],
      [3, 5],
    ],
    [
      [1, 2],
      [3, 4],
    ],
    [1, "v", 0.25],
  ],
  [
    "a layer is missing",
    [[1, 2]],
    [
      [1, 2],
      [3, 4],
    ],
    [1, "k", Number.POSITIVE_INFINITY],
  ],
  ["not a number", [[1, Number.NaN]], [[1, 2]], [0, "v", Number.POSITIVE_INFINITY]],
])("the largest difference of absmax is found: %s", (_, ours, theirs, [layer, side, relative]) => {
  const layers = (values: [number, number][]) => values.map(([k, v]) => ({ k, v }));
  expect(largestDifference(layers(ours), layers(theirs))).toEqual({ layer, side, relative });
});

test("what a value measures and what was not measured stand apart in the table", () => {
  const spread = (median: number) => ({ median, least: median, most: median });
  const row = {
    prompts: 128,
    tokens: 512,
    program: "create-kv-scales",
    how: "cuda",
    wallSeconds: { median: 12.345, least: 12, most: 13.5 },
    loadSeconds: spread(0.012345),
    computeSeconds: spread(0.4),
    tokensPerSecond: spread(163840),
    shareOfPeak: 0.7654,
    devicePeakBytes: 17.25 * 2 ** 30,
    hostPeakBytes: null,
    absmax: [],
  };
  const text = resultMarkdown({
    date: "2030-01-02",
    command: "npm run bench -- --provider cuda",
    shape: "llama-3-8b",
    layers: 32,
    experts: null,
    machine: { cpu: "A CPU", cores: 16, memoryBytes: 128 * 2 ** 30, gpu: "A GPU", driver: "1.2" },
    versions: { torch: "2.11" },
    repeats: 3,
    bf16Product: { size: 8192, rounds: 30, flopsPerSecond: 712.3e12 },
    rows: [row],
    differences: [{ prompts: 128, tokens: 512, layer: 3, side: "v", relative: 0.0123 }],
    ratios: [
      { prompts: 64, shortest: 32, tokens: 256, forward: { median: 0.5, least: 0.4, most: 0.6 }, wall: spread(0.75) },
    ],
  });
  expect(text).toContain("- Time over that of transformers, 64 × 32–256: forward 0.500 (0.400–0.600), wall 0.750\n");
  expect(text).toContain("## 2030-01-02: llama-3-8b, 32 layers, A GPU\n");
  expect(text).toContain("- A GPU, driver 1.2; A CPU, 16 cores, 128 GiB\n");
  expect(text).toContain("- bf16 peak: 712.30 TFLOP/s, 8192³, median of 30\n");
  expect(text).toContain("- Largest difference of absmax, 128 × 512: 1.23 % (V of layer 3)\n");
  const cells = text
    .split("\n")
    .findLast((line) => line.startsWith("| 128"))
    ?.split("|")
    .map((cell) => cell.trim());
  expect(cells?.slice(3, -1)).toEqual(["12.3 (12.0–13.5)", "0.0123", "0.400", "163,840", "76.5 %", "17.25 GiB", "–"]);
});

test.skipIf(!existsSync("/proc/self/status"))("memory counts what a program's children take, too", async () => {
  const hold = "const held = Buffer.alloc(200 * 2 ** 20, 1); setTimeout(() => held.length, 300);";
  const parent = `require("child_process").spawnSync(process.execPath, ["-e", ${JSON.stringify(hold)}])`;
  const { exitCode, hostPeakBytes, devicePeakBytes, wallSeconds } = await runMeasured(process.execPath, ["-e", parent]);
  expect([exitCode, devicePeakBytes]).toEqual([0, null]);
  expect(hostPeakBytes).toBeGreaterThan(200 * 2 ** 20);
  expect(hostPeakBytes).toBeLessThan(600 * 2 ** 20);
  expect(wallSeconds).toBeGreaterThan(0.3);
});

test.skipIf(process.platform === "win32")(
  "device memory is the largest sample, less what was used before",
  async () => {
    const folder = temporaryFolder();
    // The tool's output format: MiB, one line a sample.
    const samples = "echo 1000; sleep 0.1; echo 1350; sleep 0.1; echo 1200; exec sleep 60";
    writeFileSync(join(folder, "nvidia-smi"), `#!/bin/sh\n${samples}\n`, { mode: 0o755 });
    vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
    const wait = ["-e", "setTimeout(() => {}, 600)"];
    const watched = await runMeasured(process.execPath, wait, { gpu: "0" }).finally(() => vi.unstubAllEnvs());
    expect(watched.devicePeakBytes).toBe(350 * 2 ** 20);
  },
);
