// Whenever the program is killed, its output is absent or whole, the model is as it was, and the next run clears up.
// Half of the moments lie anywhere in a run; the others wait for the writing, which is short, to begin. Every call of the
// writer is tried by test/attack/kill-writes.js; here it is the whole program, with its processes.

import { type FSWatcher, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seededRandom } from "../helpers/broken-checkpoints.js";
import { copyResult } from "../helpers/calibrated-example.js";
import { calibrationOf, EXAMPLE, type ExampleFolder, INDEX_FILE, makeExample } from "../helpers/example-checkpoint.js";
import { SafetensorsFile } from "../helpers/example-checkpoint-safetensors.js";
import { tries } from "../helpers/how-much.js";
import { REPOSITORY, runCli, runMain, startCli } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

/** From the first entry that shows in the folder to the last, with a margin. */
const WRITING_MS = 15;
const WRITING_IN_PLACE_MS = 10;
const SHARDS = 4;

interface Moment {
  readonly name: string;
  /** Waits for the writing to show first. */
  readonly whileWriting: boolean;
  /** 0 to 1: a part of the whole run, or of the writing. */
  readonly wait: number;
  /** Whether there is an earlier result to replace. */
  readonly force: boolean;
}

function moments(count: number, seed: number): Moment[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, index) => {
    const whileWriting = index % 2 === 1;
    const wait = (Math.floor(index / 2) + random()) / (count / 2);
    const force = index % 4 >= 2;
    const name = `after ${(wait * 100).toFixed(1)} % of ${whileWriting ? "the writing" : "the run"}`;
    return { name, whileWriting, wait, force };
  });
}

/** How long a run and its writing take, and the folder in which the writing shows first. */
interface Course {
  readonly runMs: number;
  readonly writingMs: number;
  readonly watched: string;
}

/** Kills the program at a moment of its run. */
async function runAndKill(args: readonly string[], moment: Moment, course: Course): Promise<boolean> {
  const { child, done } = startCli(args);
  const kill = (afterMs: number) => setTimeout(() => child.kill("SIGKILL"), afterMs);
  let watcher: FSWatcher | undefined;
  if (moment.whileWriting) {
    watcher = watch(course.watched, () => {
      watcher?.close();
      kill(moment.wait * course.writingMs);
    });
  } else {
    kill(moment.wait * course.runMs);
  }
  const { signal } = await done;
  watcher?.close();
  return signal === "SIGKILL";
}

const seen = { killed: 0, partial: 0, absent: 0, halfWay: 0 };
/** Of the undisturbed run, which the moments are spread over. */
let runMs = 0;
/** What undisturbed runs leave: the same bytes wherever they write. An earlier result is copied from here. */
const undisturbed = mkdtempSync(join(tmpdir(), "create-kv-scales-test-"));
const whole: ExampleFolder = { ...makeExample(undisturbed, SHARDS), output: join(undisturbed, "whole") };
const earlier: ExampleFolder = { ...whole, output: join(undisturbed, "earlier") };

beforeAll(async () => {
  const start = performance.now();
  expect(await runCli(calibrationOf(whole))).toMatchObject({ exitCode: 0 });
  runMs = performance.now() - start;
  expect(await runMain(calibrationOf(earlier, "--format", "vllm"))).toMatchObject({ exitCode: 0 });
});
afterAll(() => rmSync(undisturbed, { recursive: true }));

describe("killed while it writes a new folder", () => {
  test.each(moments(tries({ few: 7, all: 32 }), 5))(
    "$name, with an earlier result to replace: $force",
    async (moment) => {
      const example = makeExample(temporaryFolder(), SHARDS);
      const allowed = [snapshot(whole.output)];
      if (moment.force) {
        copyResult(earlier.output, example);
        allowed.push(snapshot(example.output));
      }
      const model = snapshot(example.model);
      const force = moment.force ? ["--force"] : [];

      if (
        await runAndKill(calibrationOf(example, ...force), moment, {
          runMs,
          writingMs: WRITING_MS,
          watched: example.root,
        })
      )
        seen.killed++;

      expect(snapshot(example.model)).toEqual(model);
      const entries = readdirSync(example.root);
      const isThere = entries.includes("output");
      if (entries.some((name) => name.includes(".partial-"))) seen.partial++;
      if (isThere) {
        expect(allowed).toContainEqual(snapshot(example.output));
      } else {
        seen.absent++;
      }
      const again = await runMain(calibrationOf(example, ...(isThere ? ["--force"] : force)));
      expect(again).toMatchObject({ exitCode: 0 });
      expect(snapshot(example.output)).toEqual(snapshot(whole.output));
      expect(snapshot(example.model)).toEqual(model);
      expect(readdirSync(example.root).sort()).toEqual(["model", "output", "prompts.txt"]);
    },
  );

  afterAll(() => {
    // Without these the moments above prove nothing.
    expect(seen.killed).toBeGreaterThan(5);
    expect(seen.absent).toBeGreaterThan(2);
    expect(seen.partial).toBeGreaterThan(0);
  });
});

describe("killed while it writes in place", () => {
  const undisturbedOf = new Map<number, ExampleFolder>();
  const rows = [1, 2].flatMap((shards) =>
    moments(tries({ few: 3, all: 12 }), 6 + shards).map((moment) => ({ ...moment, shards })),
  );

  beforeAll(async () => {
    for (const shards of [1, 2]) {
      const example = makeExample(join(undisturbed, `${shards}`), shards);
      expect(await runMain(inPlace(example))).toMatchObject({ exitCode: 0 });
      undisturbedOf.set(shards, example);
    }
  });

  const inPlace = ({ model, prompts }: ExampleFolder) => [model, "--in-place", "--format", "vllm", "--data", prompts];

  test.each(rows.filter(({ whileWriting }) => whileWriting))("$shards files, $name", async ({ shards, ...moment }) => {
    const example = makeExample(temporaryFolder(), shards);
    const args = inPlace(example);
    const original = snapshot(example.model);
    const weights = weightsOf(example);

    await runAndKill(args, moment, { runMs, writingMs: WRITING_IN_PLACE_MS, watched: example.model });

    expect(weightsOf(example)).toEqual(weights);
    const found = snapshot(example.model);
    if (!isDeepStrictEqual(found, original)) await expectOpens(example);
    if (Object.keys(found).some((name) => name.startsWith("."))) seen.halfWay++;
    expect(await runMain([...args, "--force"])).toMatchObject({ exitCode: 0 });
    expect(weightsOf(example)).toEqual(weights);
    const expected = undisturbedOf.get(shards);
    expect(contentOf(example)).toEqual(expected && contentOf(expected));
  });
});

describe("interrupted", () => {
  test.each<[NodeJS.Signals, string]>([
    ["SIGINT", "Tokenizing"],
    ["SIGINT", "Calibrating"],
    ["SIGTERM", "Calibrating"],
  ])("%s while %s: exit 130, a message, and nothing left behind", async (signal, stage) => {
    const example = makeExample(temporaryFolder());
    const line = readFileSync(example.prompts, "utf8").replaceAll("\n", " ");
    writeFileSync(example.prompts, `${line}\n`.repeat(1000));
    const before = snapshot(example.root);
    const { child, done } = startCli(calibrationOf(example, "--samples", "1000", "--memory", "1"));
    let sent = false;
    child.stderr?.on("data", (chunk: Buffer) => {
      if (sent || !chunk.toString().includes(stage)) return;
      sent = true;
      child.kill(signal);
    });
    const { exitCode, stdout, stderr } = await done;
    expect({ exitCode, stdout }).toEqual({ exitCode: 130, stdout: "" });
    expect(stderr.trimEnd().split("\n").at(-1)).toBe("Error: Interrupted: nothing was written.");
    expect(snapshot(example.root)).toEqual(before);
  });
});

interface OpenedCheckpoint {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, unknown>;
}

/** A half-way state opens, and never asks vLLM for scales that are not there. */
async function expectOpens({ model }: ExampleFolder): Promise<void> {
  const module = pathToFileURL(join(REPOSITORY, "dist/checkpoint/open-checkpoint.js")).href;
  const { openCheckpoint } = (await import(module)) as { openCheckpoint(folder: string): Promise<OpenedCheckpoint> };
  const { config, tensors } = await openCheckpoint(model);
  const scales = [...tensors.keys()].filter((name) => name.endsWith("_scale"));
  if ("quantization_config" in config) expect(scales).toHaveLength(EXAMPLE.layers * 2);
}

/** The bytes of every weight, whatever the file is called that holds it. */
function weightsOf(example: ExampleFolder): Record<string, string> {
  return Object.fromEntries(Object.entries(tensorsOf(example)).filter(([name]) => !name.endsWith("_scale")));
}

function tensorsOf({ model }: ExampleFolder): Record<string, string> {
  const files = readdirSync(model).filter((name) => name.endsWith(".safetensors"));
  const tensors = files.flatMap((file) => [...SafetensorsFile.parse(readFileSync(join(model, file))).tensors]);
  return Object.fromEntries(tensors.map(([name, { data }]) => [name, data.toString("base64")]));
}

/**
 * What engines read. Not the provenance, which has the hash of the config.json that the run found; nor a file that was
 * being written when the program was killed: it stays, under a name that nothing reads.
 */
function contentOf(example: ExampleFolder): Record<string, unknown> {
  const files = Object.keys(snapshot(example.model)).filter((name) => !name.startsWith("."));
  const read = (name: string) => readFileSync(join(example.model, name), "utf8");
  return { files, tensors: tensorsOf(example), config: read("config.json"), index: read(INDEX_FILE) };
}
