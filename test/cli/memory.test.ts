// Peak memory of the built program, as the operating system counts it for a process of its own.

import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeRandomCheckpoint, shape } from "../../bench/random-checkpoint.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kv-scales-memory-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it("peak memory does not grow with the number of layers", async () => {
  const shallow = await peakMemory(4);
  const deep = await peakMemory(32);
  expect(deep / shallow).toBeLessThan(1.15);
});

/** Bytes that a calibration takes at its peak, on layers of 5.5 million weights each. */
async function peakMemory(layers: number): Promise<number> {
  const model = join(folder, `layers-${layers}`);
  await makeRandomCheckpoint(model, shape(768, 1792, layers, 12, 4, 4096));
  const argv = [model, "--samples", "8", "--sequence-length", "128", "--quiet"];
  const script = `
    import { main } from "./dist/cli.js";
    process.exitCode = await main(${JSON.stringify(argv)});
    process.stderr.write(String(process.resourceUsage().maxRSS * 1024));`;
  const { stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script]);
  return Number(stderr);
}
