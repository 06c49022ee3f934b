// --headroom auto and --samples auto, end to end: what the program prints, writes and records, and that nothing else
// changes by them.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { calibratedExample } from "../helpers/calibrated-example.js";
import { type ExampleFolder, makeExample } from "../helpers/example-checkpoint.js";
import { schemaErrors } from "../helpers/json-schemas.js";
import { runCli, runMain } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

interface Layer {
  readonly k_absmax: number;
  readonly v_absmax: number;
  readonly k_scale: number;
  readonly v_scale: number;
  readonly kv_scale: number;
  readonly k_level: number;
  readonly v_level: number;
  readonly k_level_interval: readonly [number, number];
  readonly v_level_interval: readonly [number, number];
  readonly k_exceeding: number;
}

interface Record {
  readonly [key: string]: unknown;
  readonly headroom: number | "auto";
  readonly samples: number;
  readonly rounds?: { readonly prompts: number; readonly ended_by: string };
  readonly layers: readonly Layer[];
  readonly warnings: readonly string[];
}

/** The shipped prompts, of which a part is enough here: the example computes each in a blink. */
const SHORT = ["--sequence-length", "64"];
const SCALES_FILE = "model-00002-of-00002.safetensors";

function recordIn(folder: string): Record {
  return JSON.parse(readFileSync(join(folder, "kv_scales.json"), "utf8")) as Record;
}

/** Calibrates with the shipped prompts. */
async function calibrate({ model, root }: ExampleFolder, ...options: readonly string[]) {
  const output = join(root, `output-${readdirSync(root).length}`);
  const { exitCode, stdout, stderr } = await runMain([model, "-o", output, ...SHORT, ...options]);
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
  return { output, stdout, record: recordIn(output), scales: readFileSync(join(output, SCALES_FILE)) };
}

/** A file with that many prompts of random words; each is another text. */
function writePrompts({ root }: ExampleFolder, count: number, words: number): string {
  const path = join(root, `prompts-${count}.txt`);
  const prompts = Array.from({ length: count }, (_, prompt) =>
    Array.from({ length: words }, (_, word) => String(Math.imul(prompt * words + word + 1, 0x9e3779b1) >>> 0)).join(
      " ",
    ),
  );
  writeFileSync(path, prompts.join("\n"));
  return path;
}

describe("--headroom auto", () => {
  test("writes every scale for its level, and records maxima, levels, intervals and settings", async () => {
    const example = makeExample(temporaryFolder());
    const { record, stdout } = await calibrate(example, "--format", "vllm", "--headroom", "auto");
    expect(schemaErrors("kv_scales", record)).toEqual([]);
    expect(record).toMatchObject({ headroom: "auto", serving_tokens: 1_000_000, exceedance: 0.05 });
    expect(record.command).toContain(" --headroom auto --serving-tokens 1000000 --exceedance 0.05 ");
    for (const layer of record.layers) {
      for (const side of ["k", "v"] as const) {
        const level = layer[`${side}_level`];
        const [low, high] = layer[`${side}_level_interval`];
        expect(level).toBeGreaterThan(layer[`${side}_absmax`]);
        expect(level).toBeLessThanOrEqual(2 * layer[`${side}_absmax`]);
        expect(low).toBeLessThanOrEqual(level);
        expect(high).toBeGreaterThanOrEqual(level);
        expect(layer[`${side}_scale`]).toBeGreaterThanOrEqual(level / 448);
        expect(layer[`${side}_scale`]).toBeLessThan((level / 448) * (1 + 2 ** -22));
      }
    }
    expect(stdout.replaceAll(/\s+/g, " ")).toMatch(
      /Serving 1,000,000 tokens exceeds each level with a probability of 5 %: scales are for these, 1\.\d\d × the absmax/,
    );
  });

  test("is for the larger level where K and V have one scale", async () => {
    const example = makeExample(temporaryFolder());
    const { record } = await calibrate(example, "--headroom", "auto");
    for (const { k_level, v_level, kv_scale } of record.layers) {
      expect(kv_scale).toBe(Math.max(kv_scale, Math.max(k_level, v_level) / 448));
      expect(kv_scale).toBeLessThan((Math.max(k_level, v_level) / 448) * (1 + 2 ** -22));
    }
  });

  test("leaves more room for more tokens, and for a smaller probability", async () => {
    const example = makeExample(temporaryFolder());
    const levels = async (...options: readonly string[]) =>
      (await calibrate(example, "--headroom", "auto", "--samples", "40", ...options)).record.layers.map(
        ({ k_level }) => k_level,
      );
    const [usual, more, surer] = [
      await levels("--serving-tokens", "10000"),
      await levels("--serving-tokens", "100000"),
      await levels("--serving-tokens", "10000", "--exceedance", "0.5%"),
    ];
    for (const [layer, level] of usual.entries()) {
      expect(more[layer]).toBeGreaterThan(level);
      expect(surer[layer]).toBeGreaterThan(level);
    }
  });

  test("gives what convert makes of another format, byte for byte", async () => {
    const example = makeExample(temporaryFolder());
    const { output } = await calibrate(example, "--headroom", "auto");
    const fresh = await calibrate(
      example,
      "--headroom",
      "auto",
      "--format",
      "tgi-separate",
      "--dtype",
      "float8_e4m3fnuz",
    );
    const converted = join(example.root, "converted");
    const to = ["--format", "tgi-separate", "--dtype", "float8_e4m3fnuz"];
    expect(await runMain(["convert", output, "-o", converted, ...to, "--quiet"])).toMatchObject({ exitCode: 0 });
    expect(snapshot(converted)).toEqual(snapshot(fresh.output));
  });

  test("is what inspect, diff and verify read as any other scale", async () => {
    const example = makeExample(temporaryFolder());
    const [plain, auto] = [
      await calibrate(example, "--format", "vllm"),
      await calibrate(example, "--format", "vllm", "--headroom", "auto"),
    ];
    expect(await runMain(["inspect", auto.output, "--engine", "vllm"])).toMatchObject({ exitCode: 0 });
    const { stdout } = await runMain(["diff", plain.output, auto.output, "--json"]);
    const { layers } = JSON.parse(stdout) as { layers: { layer: number; k: number }[] };
    for (const { layer, k } of layers) {
      const recorded = auto.record.layers[layer];
      expect(k).toBeCloseTo((recorded?.k_level ?? 0) / (recorded?.k_absmax ?? 1), 5);
    }
    const few = ["--data", example.prompts, "--allow-inconclusive"];
    expect([0, 6]).toContain((await runMain(["verify", auto.output, ...few])).exitCode);
  });

  test.each<[string, (example: ExampleFolder) => readonly string[], RegExp]>([
    ["few prompts", ({ prompts }) => ["--data", prompts], /expected 24 prompts or more, found 6\./],
    ["4 tokens of one text", (example) => ["--data", hello(example)], /expected 24 prompts or more, found 1\./],
    ["short prompts", () => ["--sequence-length", "4"], /expected 1000 tokens or more, found 7\d\d\./],
  ])("refuses %s: exit 2, and nothing is written", async (_what, optionsOf, found) => {
    const example = makeExample(temporaryFolder());
    const options = [...optionsOf(example), "--headroom", "auto"];
    const before = snapshot(example.root);
    for (const more of [[], ["--dry-run"]]) {
      const { exitCode, stdout, stderr } = await runMain([example.model, "-o", example.output, ...options, ...more]);
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
      expect(stderr).toMatch(/^Error: --headroom auto: too little text to tell what serving exceeds: /m);
      expect(stderr).toMatch(found);
    }
    expect(snapshot(example.root)).toEqual(before);
  });
});

function hello({ root }: ExampleFolder): string {
  const path = join(root, "hello.txt");
  writeFileSync(path, "hell\n");
  return path;
}

describe("without --headroom auto", () => {
  test("scales are absmax / 448 whatever serving brings; the report says what that is, the record has levels", async () => {
    const example = makeExample(temporaryFolder());
    const { record, stdout, scales } = await calibrate(example, "--format", "vllm");
    for (const { k_absmax, k_scale, k_level, k_exceeding } of record.layers) {
      expect(k_scale).toBeLessThan((k_absmax / 448) * (1 + 2 ** -22));
      expect(k_level).toBeGreaterThan(k_absmax);
      expect(k_exceeding).toBeGreaterThan(0.05);
    }
    expect(stdout.replaceAll(/\s+/g, " ")).toMatch(
      /Serving 1,000,000 tokens exceeds the range of 6 of 6 K and V with a probability above 5 %, by up to \d+ %; --headroom auto would write 1\.\d\d × the absmax on median\./,
    );
    // What levels are for is in the metadata, and moves no scale.
    const other = await calibrate(example, "--format", "vllm", "--serving-tokens", "5", "--exceedance", "0.5");
    expect(tensorsOf(other.scales)).toEqual(tensorsOf(scales));
  });

  test("of too few prompts nothing is claimed: no level, no sentence about serving", async () => {
    const example = await calibratedExample();
    const record = recordIn(example.output);
    expect(record).toMatchObject({ headroom: 1, no_levels: "expected 24 prompts or more, found 6" });
    expect(JSON.stringify(record)).not.toContain('_level"');
    const { stdout } = await runCli([example.model, "--data", hello(example), "-o", join(example.root, "few")]);
    expect(stdout.replaceAll(/\s+/g, " ")).toContain(
      "Too little text to tell what serving exceeds: expected 24 prompts or more, found 1.",
    );
    expect(stdout).not.toMatch(/^Serving /m);
  });
});

/** Everything behind the header. */
function tensorsOf(file: Buffer): Buffer {
  return file.subarray(8 + Number(file.readBigUInt64LE(0)));
}

describe("--samples auto", () => {
  test("stops when more prompts would change no level, with the bytes that so many prompts give", async () => {
    const example = makeExample(temporaryFolder());
    const data = ["--data", writePrompts(example, 200, 12)];
    const options = [...data, "--headroom", "auto", "--exceedance", "50%", "--serving-tokens", "20000"];
    const { record, scales, stdout } = await calibrate(example, ...options, "--samples", "auto");
    expect(record.rounds).toEqual({ prompts: 200, ended_by: "levels" });
    expect(record.samples).toBeLessThan(200);
    expect(stdout).toContain(
      `Stopped after ${record.samples} of 200 prompts: more would change no level that matters.`,
    );
    const fixed = await calibrate(example, ...options, "--samples", String(record.samples));
    expect(scales.equals(fixed.scales)).toBe(true);
    expect(record.layers).toEqual(fixed.record.layers);
    expect(record.prompts_sha256).toBe(fixed.record.prompts_sha256);
    expect(record.command).toContain(" --samples auto ");
  });

  test("says that there was too little text, and does not call it enough", async () => {
    const example = makeExample(temporaryFolder());
    const { record, stdout } = await calibrate(example, "--data", hello(example), "--samples", "auto");
    expect(record.rounds).toEqual({ prompts: 1, ended_by: "prompts" });
    expect(stdout).toContain("Warning: --samples auto measured all 1 prompt");
    expect(stdout).not.toContain("Stopped after");
  });

  test("--memory and --json change nothing of it", async () => {
    const example = makeExample(temporaryFolder());
    const options = ["--samples", "auto", "--headroom", "auto"];
    const plain = await calibrate(example, ...options);
    const small = await calibrate(example, ...options, "--memory", "1", "--json");
    expect(small.scales.equals(plain.scales)).toBe(true);
    const { rounds, layers } = JSON.parse(small.stdout) as Record;
    expect({ rounds, layers: layers.length }).toEqual({ rounds: plain.record.rounds, layers: 3 });
  });

  test("a dry run says how many prompts it is at most", async () => {
    const example = makeExample(temporaryFolder());
    const planned = [example.model, ...SHORT, "--samples", "auto", "--dry-run"];
    const { stdout } = await runMain(planned);
    expect(stdout).toMatch(/at most 175 prompts, /);
    expect(stdout).toMatch(/^time {6}at most about /m);
    const { reads } = JSON.parse((await runMain([...planned, "--json"])).stdout) as { reads: object };
    expect(reads).toMatchObject({ prompts: 175, may_be_fewer: true });
    expect(existsSync(`${example.model}-FP8-KV`)).toBe(false);
  });
});
