// The program on a real device of WebGPU, held against the processor. Chromium's device in software is one on which ONNX
// Runtime's attention operator is wrong and which has no float16: what the program makes of both is what counts here.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CliResult, runCli, withoutTimes } from "../helpers/run-cli.js";
import { findWebGpuDevice } from "../helpers/webgpu-device.js";

const { env, reason } = await findWebGpuDevice();

interface Calibration {
  readonly provider: string;
  readonly computed_in: string;
  readonly warnings: readonly string[];
  readonly layers: readonly { readonly k_absmax: number; readonly v_absmax: number }[];
}

interface Verification {
  readonly provider: string;
  readonly verdict: { readonly name: string };
  readonly arms: readonly { readonly name: string; readonly perplexity: number }[];
  readonly warnings: readonly string[];
}

/** Of absmax, by what the device computes in. */
const TOLERANCES: Readonly<Record<string, number>> = { float32: 1e-4, float16: 5e-3 };

const PROMPTS = [
  "The ferryman kept his accounts in chalk on the wheelhouse door, and every spring the rain took them away again.",
  "4738 x 296 = 1402448, and 1402448 / 296 = 4738.",
  "const scale = Math.fround(absmax / 448); // rounded up",
  "Salt, acid, fat, heat: taste it again, and then once more with the window open.",
  "The committee adjourned at noon. It met again at two, without the treasurer, who had gone to look for the minutes.",
  "What is a cache?",
  "a",
];

const root = mkdtempSync(join(tmpdir(), "create-kv-scales-webgpu-"));
const prompts = join(root, "prompts.txt");
writeFileSync(prompts, `${PROMPTS.join("\n")}\n`);
afterAll(() => rmSync(root, { recursive: true, force: true }));

function calibrate(provider: string): Promise<CliResult> {
  const args = ["-o", join(root, provider), "--data", prompts, "--provider", provider, "--json"];
  return runCli(args, { env: env ?? {} });
}

function verify(provider: string): Promise<CliResult> {
  const args = ["verify", join(root, "cpu"), "--data", prompts, "--sequence-length", "128", "--provider", provider];
  return runCli([...args, "--arms", "16-bit,fp8", "--json"], { env: env ?? {} });
}

describe.skipIf(env === undefined)(`on a device of WebGPU${reason && ` (skipped: ${reason})`}`, () => {
  let [onDevice, onProcessor]: CliResult[] = [];
  beforeAll(async () => {
    onProcessor = await calibrate("cpu");
    onDevice = await calibrate("webgpu");
  });
  const resultOf = <Content>(result: CliResult | undefined) => JSON.parse(result?.stdout ?? "") as Content;

  test("calibration finds the absmax that the processor finds", () => {
    const [found, expected] = [onDevice, onProcessor].map((result) => resultOf<Calibration>(result));
    expect(onDevice?.exitCode).toBe(0);
    expect(found?.provider).toBe("webgpu");
    const tolerance = TOLERANCES[found?.computed_in ?? ""] ?? 0;
    expect(expected?.layers).toHaveLength(6);
    for (const [layer, { k_absmax, v_absmax }] of (expected?.layers ?? []).entries()) {
      const of = found?.layers[layer];
      expect(Math.abs((of?.k_absmax ?? Number.NaN) / k_absmax - 1), `layer ${layer}, K`).toBeLessThan(tolerance);
      expect(Math.abs((of?.v_absmax ?? Number.NaN) / v_absmax - 1), `layer ${layer}, V`).toBeLessThan(tolerance);
    }
  });

  test("verification comes to the processor's verdict, with its perplexities", async () => {
    const results = [await verify("webgpu"), await verify("cpu")];
    const [found, expected] = results.map((result) => resultOf<Verification>(result));
    expect(results.map(({ exitCode }) => exitCode)).toEqual([results[1]?.exitCode, results[1]?.exitCode]);
    expect(found?.provider).toBe("webgpu");
    expect(found?.verdict.name).toBe(expected?.verdict.name);
    for (const [index, { name, perplexity }] of (expected?.arms ?? []).entries()) {
      expect(found?.arms[index]?.name).toBe(name);
      expect(Math.abs((found?.arms[index]?.perplexity ?? Number.NaN) / perplexity - 1), name).toBeLessThan(0.01);
    }
    if (isInSoftware()) expect(found?.warnings.join("\n")).toContain("attention operator gives wrong values");
  });

  test.skipIf(!isInSoftware())("the reader is told of what the device lacks, once each", () => {
    const { computed_in, warnings } = resultOf<Calibration>(onDevice);
    expect(computed_in).toBe("float32");
    expect(warnings.filter((warning) => warning.includes("no float16"))).toHaveLength(1);
    expect(warnings.filter((warning) => /attention operator gives wrong values .*webgpu/.test(warning))).toHaveLength(
      1,
    );
  });

  test("nothing of what drivers and libraries write reaches the terminal", () => {
    // How many lines say how far it is depends on how long it takes.
    const withoutProgress = (run: typeof onDevice) =>
      withoutTimes(run?.stderr ?? "").replace(/^Calibrating .*\n/gm, "");
    expect(withoutProgress(onDevice)).toBe(withoutProgress(onProcessor));
    expect(onDevice?.stderr).not.toMatch(/vulkan|dawn|onnxruntime/i);
    expect(() => resultOf(onDevice)).not.toThrow();
  });
});

/** Whether the device is Chromium's, of which it is known what is wrong. */
function isInSoftware(): boolean {
  return env?.VK_DRIVER_FILES?.includes("swiftshader") ?? false;
}
