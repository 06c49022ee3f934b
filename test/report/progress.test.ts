// Progress goes to its stream and nowhere else: plain lines where there is no terminal, nothing when it is quiet.

import { Writable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { CalibrationProgress } from "../../src/pipeline/calibration-result.js";
import type { SampleRound } from "../../src/pipeline/sample-rounds.js";
import { createProgressDisplay, type Progress } from "../../src/report/progress.js";
import { TextOutput } from "../../src/report/text-output.js";

function recorder(isTTY: boolean) {
  const written: string[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString());
      done();
    },
  });
  // What a terminal's stream has beside: sizes, and the moves of the cursor that the spinner asks for.
  const cursor = { clearLine: () => true, cursorTo: () => true, moveCursor: () => true };
  const stream = Object.assign(sink, { isTTY, columns: 80, rows: 24, ...cursor }) as unknown as NodeJS.WriteStream;
  return { written, output: new TextOutput(stream) };
}

function measured(tokenLayersDone: number, round?: SampleRound): CalibrationProgress {
  return {
    ...(round !== undefined && { round }),
    stage: "measure",
    tokens: 1000,
    layersDone: Math.floor(tokenLayersDone / 1000),
    layers: 4,
    tokenLayersDone,
    tokenLayers: 4000,
  };
}

const DOWNLOAD: CalibrationProgress = {
  stage: "download",
  file: "model.safetensors",
  fileIndex: 2,
  fileCount: 5,
  receivedBytes: 2 ** 20,
  totalBytes: 2 ** 21,
};

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ["performance", "setInterval", "clearInterval", "Date"],
    now: Date.parse("2026-11-26T21:50:03Z"),
  });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("where there is no terminal", () => {
  test.each<[string, Progress, string]>([
    ["downloading", DOWNLOAD, "Downloading 50 %, 1.0 MiB of 2.0 MiB · model.safetensors (2/5)\n"],
    [
      "downloading nothing",
      { ...DOWNLOAD, receivedBytes: 0, totalBytes: 0 },
      "Downloading 0 %, 0 B of 0 B · model.safetensors (2/5)\n",
    ],
    ["opening", { stage: "open" }, "Reading the checkpoint's headers\n"],
    ["tokenizing", { stage: "tokenize" }, "Tokenizing the prompts\n"],
    ["measuring", measured(0), "Calibrating 0 %, layer 0/4 · 1,000 tokens\n"],
    ["generating", { stage: "generate", texts: 1, ofTexts: 4, tokens: 64 }, "Generating 25 %, text 2/4\n"],
    ["writing", { stage: "write", copiedBytes: 512, totalBytes: 2048 }, "Copying weights 25 %, 512 B of 2.0 KiB\n"],
  ])("%s is a line without colours or bars, with its time", async (_stage, progress, line) => {
    const { written, output } = recorder(false);
    (await createProgressDisplay({ output, quiet: false, color: true })).update(progress);
    expect(written).toEqual([`2026-11-26T21:50:03Z ${line}`]);
  });

  test("a new stage is a line at once, then one every thirty seconds, which says how much is left", async () => {
    const { written, output } = recorder(false);
    const display = await createProgressDisplay({ output, quiet: false, color: true });
    display.update({ stage: "open" });
    display.update({ stage: "tokenize" });
    display.update(measured(0));
    for (let second = 1; second <= 65; second++) {
      vi.advanceTimersByTime(1000);
      display.update(measured(second * 50));
    }
    display.stop();
    const words = written.map((line) => line.split(" ")[1]);
    expect(words).toEqual(["Reading", "Tokenizing", "Calibrating", "Calibrating", "Calibrating"]);
    expect(written.map((line) => line.split(" ")[0]).slice(-3)).toEqual([
      "2026-11-26T21:50:03Z",
      "2026-11-26T21:50:33Z",
      "2026-11-26T21:51:03Z",
    ]);
    expect(written.at(-1)).toContain("layer 2/4 · 12 tokens/s · 21 s left");
  });

  test("a new round is a line at once, and rates are its own", async () => {
    const { written, output } = recorder(false);
    const display = await createProgressDisplay({ output, quiet: false, color: true });
    const first = { first: 1, last: 16, of: 175 };
    const second = { first: 17, last: 32, of: 175 };
    display.update(measured(0, first));
    vi.advanceTimersByTime(20_000);
    display.update(measured(4000, first));
    display.update(measured(0, second));
    for (let seconds = 1; seconds <= 30; seconds++) {
      vi.advanceTimersByTime(1000);
      display.update(measured(seconds * 100, second));
    }
    display.stop();
    expect(written.map((line) => line.slice(line.indexOf(" ") + 1))).toEqual([
      "Prompts 1–16 of 175 0 %, layer 0/4 · 1,000 tokens\n",
      "Prompts 17–32 of 175 0 %, layer 0/4 · 1,000 tokens\n",
      "Prompts 17–32 of 175 72 %, layer 2/4 · 24 tokens/s · 11 s left\n",
    ]);
  });

  test("work that reports nothing is said to go on, until it stops", async () => {
    const { written, output } = recorder(false);
    const display = await createProgressDisplay({ output, quiet: false, color: true });
    display.update({ stage: "tokenize" });
    vi.advanceTimersByTime(61_000);
    display.stop();
    vi.advanceTimersByTime(61_000);
    expect(written).toEqual(
      ["03", "33", "03"].map((s, i) => `2026-11-26T21:5${i === 2 ? 1 : 0}:${s}Z Tokenizing the prompts\n`),
    );
  });
});

test("generating says how fast it is, from the first token on", async () => {
  const { written, output } = recorder(false);
  const display = await createProgressDisplay({ output, quiet: false, color: true });
  display.update({ stage: "generate", texts: 0, ofTexts: 2, tokens: 0 });
  vi.advanceTimersByTime(60_000);
  display.update({ stage: "generate", texts: 0, ofTexts: 2, tokens: 1 });
  vi.advanceTimersByTime(20_000);
  display.update({ stage: "generate", texts: 1, ofTexts: 2, tokens: 150 });
  vi.advanceTimersByTime(10_000);
  display.stop();
  expect(written.at(-1)).toContain("Generating 50 %, text 2/2 · 5 tokens/s\n");
});

describe("in a terminal", () => {
  test.each<[number, SampleRound | undefined, string]>([
    [80, undefined, "Calibrating ▕████            ▏ layer 1/4 · 250 tokens/s · 3 s left"],
    [50, undefined, "Calibrating ▕█▌    ▏ layer 1/4 · 3 s left"],
    [75, { first: 129, last: 175, of: 175 }, "Prompts 129–175 of 175 ▕████            ▏ layer 1/4 · 3 s left"],
  ])("of %d columns the line fits, and says how much is left", async (columns, round, line) => {
    const { written, output } = recorder(true);
    Object.assign(output.stream, { columns });
    const display = await createProgressDisplay({ output, quiet: false, color: false });
    display.update(measured(0, round));
    vi.advanceTimersByTime(1000);
    display.update(measured(1000, round));
    vi.advanceTimersByTime(500);
    display.stop();
    expect(written.join("")).toContain(line);
  });

  test("one line is redrawn, and cleared when it stops", async () => {
    const { written, output } = recorder(true);
    const display = await createProgressDisplay({ output, quiet: false, color: false });
    display.update(measured(1000));
    vi.advanceTimersByTime(500);
    display.stop();
    const lines = written.length;
    vi.advanceTimersByTime(5000);
    expect(written.join("")).toContain("Calibrating ▕████            ▏ layer 1/4");
    expect(written.join("").match(/\n/g) ?? []).toEqual([]);
    expect(written.length).toBe(lines);
  });
});

test("nothing is written when it is quiet", async () => {
  const { written, output } = recorder(true);
  const display = await createProgressDisplay({ output, quiet: true, color: true });
  for (const progress of [DOWNLOAD, measured(0), measured(4000)]) display.update(progress);
  display.stop();
  expect(written).toEqual([]);
});
