// How many files the system lets a process have open is no reason to fail: the program works with few, and says so when
// they are too few.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { calibrationOf, makeExample } from "../helpers/example-checkpoint.js";
import { PROGRAM, startProgram } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";
import { rawSafetensors } from "../helpers/safetensors-files.js";

const FEW = 64;
/** Failed, or too little text to decide. */
const NOT_SHIPPED: readonly (number | null)[] = [6, 8];

/** Runs the program in a process that may open `handles` files, and so may every process it starts. */
const runWith = (handles: number, args: readonly string[]) =>
  startProgram("sh", ["-c", `ulimit -n ${handles}; exec "$@"`, "sh", process.execPath, PROGRAM, ...args]).done;

describe.skipIf(process.platform === "win32")("with few file handles", () => {
  test(`${FEW} suffice for calibrating, inspecting, converting, comparing and verifying`, async () => {
    const example = makeExample(temporaryFolder(), 20);
    const { output, prompts, root } = example;
    const converted = join(root, "converted");
    for (const args of [
      calibrationOf(example),
      ["inspect", output],
      ["convert", output, "-o", converted, "--format", "vllm"],
      ["diff", output, converted],
      ["verify", output, "--data", prompts],
    ]) {
      const { exitCode, stderr } = await runWith(FEW, args);
      // What verify thinks of so small a model is no matter here.
      const isDone = exitCode === 0 || (args[0] === "verify" && NOT_SHIPPED.includes(exitCode));
      expect([args[0], isDone, stderr]).toEqual([args[0], true, expect.not.stringMatching(/EMFILE|may not open/)]);
    }
  });

  test("3,000 shards are inspected with 64", async () => {
    const folder = join(temporaryFolder(), "model");
    makeShards(folder, 3000);
    expect(await runWith(FEW, ["inspect", folder])).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining("3,000 layers with attention"),
    });
  });

  test("too few are said to be so", async () => {
    const { exitCode, stderr } = await runWith(23, ["inspect", "nowhere"]);
    // Versions of Node differ in how many they need themselves.
    expect(stderr).toMatch(
      /^Error: (this process may not open more files\. Allow more: ulimit -n 1024|.*no such folder.*)\n$/,
    );
    expect(exitCode).toBe(3);
  });
});

function makeShards(folder: string, count: number): void {
  mkdirSync(folder);
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard < count; shard++) {
    const name = `model.layers.${shard}.self_attn.k_proj.weight`;
    const file = `model-${shard}.safetensors`;
    weightMap[name] = file;
    const header = JSON.stringify({ [name]: { dtype: "BF16", shape: [1], data_offsets: [0, 2] } });
    writeFileSync(join(folder, file), rawSafetensors(header, new Uint8Array(2)));
  }
  writeFileSync(join(folder, "config.json"), '{"model_type": "llama"}');
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
}
