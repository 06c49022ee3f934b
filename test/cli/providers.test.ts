// Where to compute, end to end on a machine without a GPU: what is listed, chosen, refused, and passed over.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type * as ListProviders from "../../src/pipeline/list-providers.js";
import { obstacleOf, thisSystem } from "../../src/runtime/provider-obstacles.js";
import { calibrationOf, makeExample } from "../helpers/example-checkpoint.js";
import { driver, preloading, WITH_GPU } from "../helpers/preload.js";
import { REPOSITORY, runCli, runMain, startCli, withoutTimes } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";
import { findWebGpuDevice } from "../helpers/webgpu-device.js";

const NO_CUDA_LIBRARY = obstacleOf("cuda")?.command !== undefined;
const system = thisSystem();
const ON_LINUX_X64 = system.platform === "linux" && system.arch === "x64";
const HAS_GPU = system.platform !== "linux" || system.exists("/dev/nvidiactl") || system.list("/dev/dri").length > 0;
const NAMES = ["cuda", "webgpu", "coreml", "dml", "cpu"];
const device = await findWebGpuDevice();
const skipped = device.env === undefined ? ` (skipped: ${device.reason})` : "";
const BROKEN = 5;
const USAGE = 2;

type Json = Record<string, unknown>;
interface Listed {
  readonly automatic: string | null;
  readonly providers: readonly Json[];
  readonly devices: readonly Json[];
}

async function list(env: Readonly<Record<string, string>> = {}): Promise<Listed> {
  const { exitCode, stdout, stderr } = await runCli(["providers", "--json"], { env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.not.stringContaining("Error") as string });
  return JSON.parse(stdout) as Listed;
}

function entryOf({ providers }: Listed, name: string): Json {
  return providers.find(({ provider }) => provider === name) ?? {};
}

describe("providers", () => {
  test("lists each and marks what auto takes, writes nothing, and shows no place in ONNX Runtime's source", async () => {
    const cwd = temporaryFolder();
    const { exitCode, stdout, stderr } = await runCli(["providers"], { cwd });
    expect(stdout + stderr).not.toMatch(/onnxruntime_src|\.cc:\d/);
    expect(withoutTimes(stderr)).toMatch(/^(Trying \w+\n)+$/);
    expect(readdirSync(cwd)).toEqual([]);
    expect(exitCode).toBe(0);
    expect(stdout.match(/^\w+(?= +(?:usable|not usable))/gm)).toEqual(NAMES);
    expect(stdout).toMatch(/^cpu +usable +the processor: computes in float32$/m);
    expect(stdout).toMatch(/^--provider auto takes \w+\.$/m);
    if (NO_CUDA_LIBRARY) expect(stdout).toMatch(/^ {2}npx create-kv-scales providers --install cuda$/m);
  });

  test("says the same in JSON, with stable keys, and what WebGPU needs where there is no GPU", async () => {
    const listed = await list();
    expect(Object.keys(listed)).toEqual(["schema_version", "automatic", "providers", "devices"]);
    expect(listed.providers.map(({ provider }) => provider)).toEqual(NAMES);
    expect(entryOf(listed, "cpu")).toEqual({
      ...{ provider: "cpu", description: "the processor", usable: true, computes_in: "float32" },
      ...{ deviation_from_cpu: 0, obstacle: null, command: null, remarks: [] },
    });
    for (const entry of listed.providers) {
      expect(Object.keys(entry)).toEqual(Object.keys(entryOf(listed, "cpu")));
      expect(entry.usable).toBe(entry.obstacle === null);
    }
    if (!ON_LINUX_X64 || HAS_GPU) return;
    const { usable, obstacle } = entryOf(listed, "webgpu");
    expect(usable).toBe(false);
    expect(obstacle).toMatch(
      /WebGPU found no GPU: it needs one with a driver for Vulkan.*\(Failed to get a WebGPU adapter/,
    );
  });

  test.skipIf(device.env === undefined)(`says what WebGPU computes in, and how near that is${skipped}`, async () => {
    const { usable, computes_in, deviation_from_cpu } = entryOf(await list(device.env), "webgpu");
    expect(usable).toBe(true);
    expect(["float16", "float32"]).toContain(computes_in);
    expect(deviation_from_cpu).toBeLessThan(computes_in === "float32" ? 1e-4 : 1e-2);
  });

  test.skipIf(!ON_LINUX_X64)("a driver that crashes is a line with its last words, not an end", async () => {
    const listed = await list(preloading(driver({ words: "driver: cannot map registers", crashesOn: "webgpu" })));
    const { usable, obstacle } = entryOf(listed, "webgpu");
    expect(usable).toBe(false);
    expect(obstacle).toMatch(/was killed by SIGSEGV.*Its last words: driver: cannot map registers/);
    expect(entryOf(listed, "cpu").usable).toBe(true);
  });

  test.skipIf(!ON_LINUX_X64)("a driver that never answers is one, too", async () => {
    const { NODE_OPTIONS } = preloading(driver({ words: "", hangsOn: "webgpu" }));
    vi.stubEnv("NODE_OPTIONS", NODE_OPTIONS);
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const dist = pathToFileURL(join(REPOSITORY, "dist/pipeline/list-providers.js")).href;
    const { listProviders } = (await import(dist)) as typeof ListProviders;
    const { providers } = await listProviders({ timeLimitMs: 4_000 });
    const found = providers.map(({ provider, usable, obstacle }) => [provider, usable, obstacle?.what]);
    expect(found).toContainEqual(["webgpu", false, "no result within 4 seconds"]);
    expect(found).toContainEqual(["cpu", true, undefined]);
  });

  test("an interrupt ends the list", async () => {
    const { child, done } = startCli(["providers"], { env: preloading(driver({ words: "", hangsOn: "cpu" })) });
    child.stderr?.once("data", () => child.kill("SIGINT"));
    expect(await done).toMatchObject({ exitCode: 130, stdout: "" });
  });

  test.each([
    [["providers", "model"], /too many arguments/],
    [["providers", "--device", "0"], /unknown option '--device'/],
  ])("%j: exit 2", async (args, message) => {
    const { exitCode, stderr } = await runMain(args);
    expect(exitCode).toBe(USAGE);
    expect(stderr).toMatch(message);
  });
});

describe("--provider", () => {
  test.skipIf(!NO_CUDA_LIBRARY)("cuda without its library fails with the command that brings it", async () => {
    for (const args of [calibrationOf(makeExample(temporaryFolder())), ["verify"]]) {
      const { exitCode, stdout, stderr } = await runMain([...args, "--provider", "cuda"]);
      expect({ exitCode, stdout }).toEqual({ exitCode: BROKEN, stdout: "" });
      expect(stderr).toMatch(/^Error: cuda cannot be used: .*: npx create-kv-scales providers --install cuda$/m);
    }
  });

  test("the environment names the provider where the option does not; a wrong name there is wrong usage, too", async () => {
    const args = calibrationOf(makeExample(temporaryFolder()), "--json");
    const chosen = await runCli(args, { env: { CREATE_KV_SCALES_PROVIDER: "cpu" } });
    expect((JSON.parse(chosen.stdout) as { provider: string }).provider).toBe("cpu");
    const { exitCode, stderr } = await runCli(args, { env: { CREATE_KV_SCALES_PROVIDER: "abacus" } });
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/CREATE_KV_SCALES_PROVIDER.*Allowed choices are auto, cuda/s);
  });

  test.skipIf(HAS_GPU)("auto computes on the CPU where there is no GPU, and says nothing about it", async () => {
    const example = makeExample(temporaryFolder());
    const { exitCode, stdout } = await runMain(
      calibrationOf(example, "--json", "--format", "vllm", "--provider", "auto"),
    );
    expect(exitCode).toBe(0);
    const { provider, warnings } = JSON.parse(stdout) as { provider: string; warnings: string[] };
    expect(provider).toBe("cpu");
    expect(warnings.filter((warning) => NAMES.some((name) => warning.includes(name)))).toEqual([]);
    const record = JSON.parse(readFileSync(join(example.output, "kv_scales.json"), "utf8")) as Json;
    expect(JSON.stringify(record)).toContain('"provider":"cpu"');
  });

  test.skipIf(!ON_LINUX_X64 || HAS_GPU)("auto falls back with a warning when what it takes first fails", async () => {
    const example = makeExample(temporaryFolder());
    const env = preloading(WITH_GPU);
    const { exitCode, stdout } = await runCli(
      calibrationOf(example, "--json", "--format", "vllm", "--provider", "auto"),
      { env },
    );
    expect(exitCode).toBe(0);
    const { provider, warnings } = JSON.parse(stdout) as { provider: string; warnings: string[] };
    expect(provider).toBe("cpu");
    expect(warnings[0]).toMatch(/^webgpu was skipped: ONNX Runtime \(webgpu\) could not open .*WebGPU found no GPU/);
  });

  test.skipIf(!ON_LINUX_X64 || HAS_GPU)("what was asked for by name is not replaced when it fails", async () => {
    const { exitCode, stdout, stderr } = await runMain(
      calibrationOf(makeExample(temporaryFolder()), "--provider", "webgpu"),
    );
    expect({ exitCode, stdout }).toEqual({ exitCode: BROKEN, stdout: "" });
    expect(stderr).toMatch(/^Error: ONNX Runtime \(webgpu\) could not open .*: WebGPU found no GPU/m);
  });

  test.each<[args: string[], message: RegExp]>([
    [["--provider", "abacus"], /Allowed choices are auto, cuda, webgpu, coreml, dml, cpu/],
    [["--provider", "CUDA"], /Allowed choices are auto/],
    [["--provider", "cpu", "--device", "0"], /^Error: --device goes with cuda; cpu has none to choose/m],
    [["--provider", "webgpu", "--device", "0"], /^Error: --device goes with cuda; webgpu has none to choose/m],
    [["--device", "0,0"], /^Error: devices: expected different numbers from 0, such as 0,1; found 0,0/m],
    [["--device", "-1"], /Expected the number of a GPU/],
    [["--device", "one"], /Expected the number of a GPU/],
    [["--device", "0,"], /Expected the number of a GPU/],
    [["--device", ""], /Expected the number of a GPU/],
  ])("%j: exit 2, of calibration and of verify", async (args, message) => {
    const example = makeExample(temporaryFolder());
    for (const command of [calibrationOf(example), ["verify", example.model]]) {
      const { exitCode, stdout, stderr } = await runMain([...command, ...args]);
      expect({ exitCode, stdout }).toEqual({ exitCode: USAGE, stdout: "" });
      expect(stderr).toMatch(message);
    }
  });
});

describe("what native libraries write in the computing process", () => {
  const CHATTER = "driver: shader cache is cold";

  test("reaches nobody's screen when all goes well", async () => {
    const args = calibrationOf(makeExample(temporaryFolder()), "--provider", "cpu");
    const { exitCode, stdout, stderr } = await runCli(args, { env: preloading(driver({ words: CHATTER })) });
    expect(exitCode).toBe(0);
    expect(stdout + stderr).not.toContain(CHATTER);
  });

  test("is given as the last words when the process dies", async () => {
    const args = calibrationOf(makeExample(temporaryFolder()), "--provider", "cpu");
    const { exitCode, stderr } = await runCli(args, { env: preloading(driver({ words: CHATTER, crashesOn: "cpu" })) });
    expect(exitCode).toBe(BROKEN);
    expect(stderr).toMatch(
      new RegExp(`^Error: The computing process was killed by SIGSEGV\\..*Its last words: ${CHATTER}$`, "m"),
    );
    expect(stderr.split(CHATTER)).toHaveLength(2);
  });
});
