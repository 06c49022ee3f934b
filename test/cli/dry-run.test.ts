// A dry run says what a run would read, compute and write, from a second that it really computes; and it writes nothing.

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { calibrationOf, makeExample } from "../helpers/example-checkpoint.js";
import { runMain, withoutTimes } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

interface DryRunJson {
  readonly reads: Readonly<Record<string, number>>;
  readonly computes: Readonly<Record<string, number | string>>;
  readonly memory: Readonly<Record<string, number>>;
  readonly writes: { readonly paths: readonly string[]; readonly bytes: number };
  readonly time: Readonly<Record<string, number>>;
}

describe("a calibration", () => {
  test("is planned as it would run, and nothing is written", async () => {
    const example = makeExample(temporaryFolder());
    const before = snapshot(example.root);
    const { exitCode, stdout, stderr } = await runMain(calibrationOf(example, "--dry-run", "--json"));
    expect(exitCode).toBe(0);
    expect(snapshot(example.root)).toEqual(before);
    expect(withoutTimes(stderr)).toMatch(/Computing for a second\n$/);
    const run = JSON.parse(stdout) as DryRunJson;
    const done = await runMain(calibrationOf(example, "--json"));
    const result = JSON.parse(done.stdout) as { samples: number; tokens: number; layers: unknown[]; provider: string };
    expect(run.reads).toMatchObject({ prompts: result.samples, tokens: result.tokens });
    expect(run.computes).toMatchObject({ provider: result.provider, layers: result.layers.length, passes: 1 });
    expect(run.writes).toMatchObject({ paths: [example.output] });
    for (const part of ["load_seconds", "compute_seconds", "measured_seconds"])
      expect(run.time[part]).toBeGreaterThan(0);
    expect(run.time.total_seconds).toBeGreaterThan((run.time.load_seconds ?? 0) + (run.time.compute_seconds ?? 0));
    for (const bytes of Object.values(run.memory)) expect(bytes).toBeGreaterThan(0);
  });

  test("that would not be written is refused as by the run itself", async () => {
    const example = makeExample(temporaryFolder());
    await runMain(calibrationOf(example, "--quiet"));
    const { exitCode, stderr } = await runMain(calibrationOf(example, "--dry-run"));
    expect(exitCode).toBe(2);
    expect(stderr).toContain("--force");
  });

  test("of a model that is not here is refused: nothing is downloaded", async () => {
    const before = process.env.HF_HUB_CACHE;
    process.env.HF_HUB_CACHE = temporaryFolder();
    const { exitCode, stderr } = await runMain(["org/name", "--dry-run"]);
    const output = join(temporaryFolder(), "output");
    const data = await runMain(["--example", "-o", output, "--data", "org/set", "--dry-run"]);
    if (before === undefined) delete process.env.HF_HUB_CACHE;
    else process.env.HF_HUB_CACHE = before;
    expect([exitCode, data.exitCode]).toEqual([2, 2]);
    expect(data.stderr).toContain("org/set: is not whole in the hub's cache, and a dry run downloads nothing.");
    expect(stderr).toMatch(
      /org\/name: is not whole in the hub's cache, and a dry run downloads nothing\. Download it first/,
    );
  });
});

test("a verification is planned with its caches and reports, and none of them is written", async () => {
  const folder = temporaryFolder();
  const html = join(folder, "r.html");
  const few = ["--samples", "2", "--sequence-length", "32", "--arms", "16-bit,fp8-at-1"];
  const { exitCode, stdout } = await runMain(["verify", ...few, "--dry-run", "--html", html]);
  expect(exitCode).toBe(0);
  expect(snapshot(folder)).toEqual({});
  expect(stdout).toMatch(/^computes {2}6 layers in 1 segment, 2 times, on cpu, in 1 process$/m);
  expect(stdout).toContain(`writes    ${html}\n`);
  expect(stdout).toMatch(
    /^time {6}about \d+ s: \d+ s to load, \d+ s to\s+compute \(from \d\.\d s that\s+were\s+measured\)/m,
  );
  expect(stdout).toContain("Nothing was written: this was a dry run.");
});

test("long texts to retrieve from are counted: their tokens as in the run, memory in a layer and time", async () => {
  const few = ["verify", "--samples", "2", "--sequence-length", "32", "--arms", "16-bit,fp8-at-1"];
  const long = [...few, "--retrieval", "--retrieval-tokens", "700", "--retrieval-values", "8"];
  const planned = async (args: readonly string[]) =>
    JSON.parse((await runMain([...args, "--dry-run", "--json"])).stdout) as DryRunJson & {
      readonly reads: { readonly long_texts?: { readonly texts: number; readonly tokens: number } };
    };
  const [without, withTexts] = [await planned(few), await planned(long)];
  const { retrieval } = JSON.parse((await runMain([...long, "--allow-inconclusive", "--json"])).stdout);
  expect(withTexts.reads.long_texts).toEqual({ texts: retrieval.texts, tokens: retrieval.tokens });
  expect(without.reads).not.toHaveProperty("long_texts");
  expect(withTexts.memory.long_text_bytes).toBeGreaterThan(0);
  expect(withTexts.memory.states_bytes).toBeGreaterThan(without.memory.states_bytes ?? 0);
  expect(withTexts.computes).toEqual(without.computes);
  const { stdout } = await runMain([...long, "--dry-run"]);
  expect(stdout).toMatch(/; 2 long texts to\s+retrieve from, 1,\d{3} tokens$/m);
  expect(stdout).toMatch(/for a\s+long text in a layer, and the program$/m);
});

test("--quiet has nothing to say of it: exit 2", async () => {
  const { exitCode, stderr } = await runMain(["x", "--dry-run", "--quiet"]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain("Choose one of --dry-run and --quiet");
});
