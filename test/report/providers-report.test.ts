// The list of providers fits a terminal of 80 columns, its command can be pasted into a shell, and JSON has every fact.

import { execFileSync } from "node:child_process";
import pc from "picocolors";
import { describe, expect, test } from "vitest";
import type { ListedProvider, ProviderList } from "../../src/pipeline/list-providers.js";
import { providersJson, providersReport } from "../../src/report/providers-report.js";
import type { Screen } from "../../src/report/screen.js";

const PLAIN: Screen = { colors: pc.createColors(false), width: 80 };
const GIBIBYTE = 2 ** 30;

const UNUSABLE = { usable: false, computesIn: undefined, deviation: undefined, isAutomatic: false, remarks: [] };
const LISTED: readonly ListedProvider[] = [
  {
    ...{ provider: "cuda", description: "NVIDIA GPUs", usable: true, computesIn: "bfloat16", deviation: 0.00412 },
    ...{ obstacle: undefined, remarks: [], isAutomatic: true },
  },
  {
    ...UNUSABLE,
    ...{ provider: "webgpu", description: "GPUs with Vulkan, Direct3D 12 or Metal" },
    obstacle: {
      what: "a sentence that is long enough to be broken, because a terminal of 80 columns has no room for it",
      command: ["echo", "'a folder'/with/quite/a/long/path/so/that/it/is/broken", "--onnxruntime-node-install=cuda12"],
    },
  },
  {
    ...{ provider: "dml", description: "GPUs with DirectX 12", usable: true, computesIn: "float32", deviation: 1e-6 },
    obstacle: undefined,
    remarks: ["The device has no float16: it was computed in float32 instead.", "Nobody has run it yet."],
    isAutomatic: false,
  },
];
const LIST: ProviderList = {
  providers: LISTED,
  devices: [
    {
      ...{ index: 1, uuid: "GPU-aaaa", name: "NVIDIA H100 80GB HBM3", driver: "550.54.15" },
      ...{ totalBytes: 80 * GIBIBYTE, freeBytes: 78.5 * GIBIBYTE },
    },
  ],
};

describe("the report", () => {
  const report = providersReport(LIST, PLAIN);

  test("says what each computes in and how near that is, or what stands in its way", () => {
    expect(report).toBe(`cuda    usable      NVIDIA GPUs: computes in bfloat16, the example's absmax
                    within 0.41 % of the CPU's
webgpu  not usable  GPUs with Vulkan, Direct3D 12 or Metal
                    a sentence that is long enough to be broken, because a
                    terminal of 80 columns has no room for it
                    This installs it:
  echo 'a folder'/with/quite/a/long/path/so/that/it/is/broken \\
    --onnxruntime-node-install=cuda12
dml     usable      GPUs with DirectX 12: computes in float32, the example's
                    absmax within 0.00010 % of the CPU's
                    The device has no float16: it was computed in float32
                    instead.
                    Nobody has run it yet.

GPU 1: NVIDIA H100 80GB HBM3, 78.5 GiB of 80.0 GiB free, driver 550.54.15

--provider auto takes cuda.
`);
  });

  test("has lines of 80 columns at most", () => {
    for (const line of report.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  test.skipIf(process.platform === "win32")("has commands that a shell takes as they stand", () => {
    const command = /^ {2}echo[\s\S]*?cuda12$/m.exec(report)?.[0] ?? "";
    const said = execFileSync("sh", ["-c", command], { encoding: "utf8" });
    expect(said).toBe("a folder/with/quite/a/long/path/so/that/it/is/broken --onnxruntime-node-install=cuda12\n");
  });

  test("is the same with colors, but for the colors", () => {
    const escapes = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g");
    const colored = providersReport(LIST, { colors: pc.createColors(true), width: 80 });
    expect(colored).not.toBe(report);
    expect(colored.replaceAll(escapes, "")).toBe(report);
  });

  test("says so when none is usable", () => {
    const broken = LISTED.map((listed) => ({ ...listed, ...UNUSABLE }));
    expect(providersReport({ providers: broken, devices: [] }, PLAIN)).toContain("None is usable.");
  });
});

test("JSON has the same facts, with null for what is not there", () => {
  const { automatic, providers, devices } = JSON.parse(providersJson(LIST)) as Record<string, unknown[]>;
  expect(automatic).toBe("cuda");
  expect(providers?.[0]).toEqual({
    ...{ provider: "cuda", description: "NVIDIA GPUs", usable: true, computes_in: "bfloat16" },
    ...{ deviation_from_cpu: 0.00412, obstacle: null, command: null, remarks: [] },
  });
  expect(providers?.[1]).toMatchObject({
    ...{ usable: false, computes_in: null, deviation_from_cpu: null },
    command: LISTED[1]?.obstacle?.command?.join(" "),
  });
  expect(devices).toEqual([
    {
      ...{ device: 1, uuid: "GPU-aaaa", name: "NVIDIA H100 80GB HBM3", driver: "550.54.15" },
      ...{ total_bytes: 80 * GIBIBYTE, free_bytes: 78.5 * GIBIBYTE },
    },
  ]);
});
