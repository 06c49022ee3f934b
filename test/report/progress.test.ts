// Progress goes to its stream and nowhere else: plain lines where there is no terminal, nothing when it is quiet.

import { Writable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { CalibrationProgress } from "../../src/pipeline/calibrate.js";
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

function measured(tokenLayersDone: number): CalibrationProgress {
  return {
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
  vi.useFakeTimers({ toFake: ["performance", "setInterval", "clearInterval", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("where there is no terminal", () => {
  test.each<[string, Progress, string]>([
    ["downloading", DOWNLOAD, "Downloading ▕████████        ▏ 1.0 MiB of 2.0 MiB · model.safetensors (2/5)\n"],
    [
      "downloading nothing",
      { ...DOWNLOAD, receivedBytes: 0, totalBytes: 0 },
      "Downloading ▕                ▏ 0 B of 0 B · model.safetensors (2/5)\n",
    ],
    ["opening", { stage: "open" }, "Reading the checkpoint's headers\n"],
    ["tokenizing", { stage: "tokenize" }, "Tokenizing the prompts\n"],
    ["measuring", measured(0), "Calibrating ▕                ▏ layer 0/4 · 1,000 tokens\n"],
    ["generating", { stage: "generate", texts: 1, ofTexts: 4, tokens: 64 }, "Generating ▕████            ▏ text 2/4\n"],
    [
      "writing",
      { stage: "write", copiedBytes: 512, totalBytes: 2048 },
      "Copying weights ▕████            ▏ 512 B of 2.0 KiB\n",
    ],
  ])("%s is a line without colours", async (_stage, progress, line) => {
    const { written, output } = recorder(false);
    (await createProgressDisplay({ output, quiet: false, color: true })).update(progress);
    expect(written).toEqual([line]);
  });

  test("a new stage is a line at once, the same stage one every ten seconds", async () => {
    const { written, output } = recorder(false);
    const display = await createProgressDisplay({ output, quiet: false, color: true });
    display.update({ stage: "open" });
    display.update({ stage: "tokenize" });
    display.update(measured(0));
    for (let second = 1; second <= 25; second++) {
      vi.advanceTimersByTime(1000);
      display.update(measured(second * 100));
    }
    display.stop();
    const words = written.map((line) => line.split(" ")[0]);
    expect(words).toEqual(["Reading", "Tokenizing", "Calibrating", "Calibrating", "Calibrating"]);
    expect(written.at(-1)).toContain("layer 2/4 · 25 tokens/s · 20 s left");
  });
});

test("generating says how fast it is, from the first token on", async () => {
  const { written, output } = recorder(false);
  const display = await createProgressDisplay({ output, quiet: false, color: true });
  display.update({ stage: "generate", texts: 0, ofTexts: 2, tokens: 0 });
  vi.advanceTimersByTime(60_000);
  display.update({ stage: "generate", texts: 0, ofTexts: 2, tokens: 1 });
  vi.advanceTimersByTime(20_000);
  display.update({ stage: "generate", texts: 1, ofTexts: 2, tokens: 100 });
  expect(written.at(-1)).toBe("Generating ▕████████        ▏ text 2/2 · 5 tokens/s\n");
});

describe("in a terminal", () => {
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
