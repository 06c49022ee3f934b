// From devices to processes: each sees its own GPU and nothing else, and all have one plan. The GPUs are those that a
// stand-in for nvidia-smi lists; nothing is computed.

import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { Worker } from "../../src/pipeline/share-work.js";
import type * as StartWorkers from "../../src/pipeline/start-workers.js";
import { goldenFolder } from "../helpers/golden-checkpoints.js";
import { REPOSITORY } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

// The built one: it starts the built child.
const { startWorkers } = (await import(
  pathToFileURL(join(REPOSITORY, "dist/pipeline/start-workers.js")).href
)) as typeof StartWorkers;
const checkpoint = await openCheckpoint(goldenFolder("llama-gqa"));
const decoder = describeModel(checkpoint.config, checkpoint.tensors);

const GIBIBYTE = 2 ** 30;
const GPUS = ["0, GPU-aaaa, A, 1, 81920, 81920", "1, GPU-bbbb, B, 1, 81920, 20480", "2, GPU-cccc, C, 1, 81920, 40960"];

describe.skipIf(process.platform === "win32")("with three GPUs", () => {
  let seen: string;
  beforeEach(() => {
    seen = temporaryFolder();
    const programs = temporaryFolder();
    const nvidiaSmi = join(programs, "nvidia-smi");
    writeFileSync(nvidiaSmi, `#!/bin/sh\nprintf '%s\\n' ${GPUS.map((row) => `'${row}'`).join(" ")}\n`);
    chmodSync(nvidiaSmi, 0o755);
    vi.stubEnv("PATH", `${programs}:${process.env.PATH}`);
    vi.stubEnv("CUDA_VISIBLE_DEVICES", undefined);
    vi.stubEnv("CUDA_DEVICE_ORDER", undefined);
    const spy = join(programs, "spy.cjs");
    writeFileSync(
      spy,
      `const { CUDA_VISIBLE_DEVICES = "all", CUDA_DEVICE_ORDER = "" } = process.env;
      const { renameSync, writeFileSync } = require("node:fs");
      writeFileSync(__filename + process.pid, CUDA_VISIBLE_DEVICES + " " + CUDA_DEVICE_ORDER);
      renameSync(__filename + process.pid, ${JSON.stringify(seen)} + "/" + process.pid);`,
    );
    vi.stubEnv("NODE_OPTIONS", `--require ${spy}`);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  /** What CUDA would show each process. */
  async function start(
    request: Partial<StartWorkers.WorkersRequest>,
  ): Promise<{ visible: string[]; plans: Worker["plan"][] }> {
    const workers = await startWorkers({ provider: "cuda", checkpoint, decoder, ...request });
    try {
      await expect.poll(() => readdirSync(seen).length, { timeout: 10_000 }).toBe(workers.length);
      const visible = readdirSync(seen).map((name) => readFileSync(join(seen, name), "utf8"));
      return { visible: visible.toSorted(), plans: workers.map(({ plan }) => plan) };
    } finally {
      for (const { process } of workers) process.stop();
    }
  }

  test.each<[devices: number[] | undefined, setting: string | undefined, visible: string[]]>([
    [undefined, undefined, ["0"]],
    [[2], undefined, ["2"]],
    [[0, 1], undefined, ["0", "1"]],
    [[0, 1], "2,0", ["0", "2"]],
    [[0], "GPU-cccc", ["GPU-cccc"]],
    // A part of a GPU is not listed, and yet is there.
    [[0], "MIG-1234", ["MIG-1234"]],
  ])(
    "--device %j with CUDA_VISIBLE_DEVICES %j: the processes see %j, numbered as nvidia-smi does",
    async (devices, setting, visible) => {
      vi.stubEnv("CUDA_VISIBLE_DEVICES", setting);
      expect((await start({ devices })).visible).toEqual(visible.map((name) => `${name} PCI_BUS_ID`));
    },
  );

  test("an order of devices that the user has set stays", async () => {
    vi.stubEnv("CUDA_DEVICE_ORDER", "FASTEST_FIRST");
    expect((await start({})).visible).toEqual(["0 FASTEST_FIRST"]);
  });

  test("all have the plan of the device with least free memory: what is computed does not depend on where", async () => {
    const { plans } = await start({ devices: [0, 1, 2] });
    expect(plans[1]).toEqual(plans[0]);
    expect(plans[2]).toEqual(plans[0]);
    expect(plans[0]?.segmentBytes).toBeLessThan(20 * GIBIBYTE);
    expect(plans[0]?.segmentBytes).toBeGreaterThan(10 * GIBIBYTE);
  });

  test.each<[devices: number[], setting: string | undefined, message: RegExp]>([
    [[3], undefined, /^There is no device 3 \(3 found by nvidia-smi\)$/],
    [[1], "2", /^There is no device 1 \(3 found by nvidia-smi, CUDA_VISIBLE_DEVICES=2\)$/],
    [[0], "", /^There is no device 0 .*CUDA_VISIBLE_DEVICES=\)$/],
    [[0], "7", /^There is no device 0/],
    [[0], "GPU-dddd", /^There is no device 0/],
  ])("--device %j with CUDA_VISIBLE_DEVICES %j is refused", async (devices, setting, message) => {
    vi.stubEnv("CUDA_VISIBLE_DEVICES", setting);
    await expect(startWorkers({ provider: "cuda", checkpoint, decoder, devices })).rejects.toMatchObject({
      name: "UsageError",
      message: expect.stringMatching(message) as string,
    });
    expect(readdirSync(seen)).toEqual([]);
  });

  test("without --device, a machine that shows none is the provider's fault: auto may try another", async () => {
    vi.stubEnv("CUDA_VISIBLE_DEVICES", "");
    await expect(startWorkers({ provider: "cuda", checkpoint, decoder })).rejects.toMatchObject({
      name: "ProviderError",
      message: expect.stringMatching(/^There is no device 0 /) as string,
    });
  });

  test("the CPU asks for no device and hides none", async () => {
    const { visible, plans } = await start({ provider: "cpu" });
    expect(visible).toEqual(["all PCI_BUS_ID"]);
    expect(plans).toMatchObject([{ provider: "cpu", segmentBytes: 32 * 2 ** 20 }]);
  });
});
