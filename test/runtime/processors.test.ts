// How many threads compute where a process may not use the whole machine, and where that is written.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { type Processors, readCpuQuota, threadLimit, usableCores } from "../../src/runtime/processors.js";

test.each<[what: string, Processors, threads: number | undefined]>([
  ["the whole machine is left to ONNX Runtime", { all: 16, allowed: 16 }, undefined],
  ["so is a quota of all of it, or more", { all: 16, allowed: 16, quota: 32 }, undefined],
  ["some processors of it", { all: 64, allowed: 2 }, 2],
  ["a quota of two", { all: 64, allowed: 64, quota: 2 }, 2],
  ["a quota of one and a half", { all: 64, allowed: 64, quota: 1.5 }, 2],
  ["a quota of one and a quarter", { all: 64, allowed: 64, quota: 1.25 }, 1],
  ["a quota of less than one", { all: 64, allowed: 64, quota: 0.1 }, 1],
  ["a quota of more than the processors allowed", { all: 64, allowed: 4, quota: 8 }, 4],
])("threads of a session: %s", (_what, processors, threads) => {
  expect(threadLimit(processors)).toBe(threads);
});

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

function rootWith(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), "kv-scales-processors-"));
  roots.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

describe("the cores that a process may use", () => {
  /** Processors that are each other's siblings, as the kernel lists them. */
  const topology = (...siblings: readonly string[]) =>
    Object.fromEntries(
      siblings.map((list, processor) => [
        `sys/devices/system/cpu/cpu${processor}/topology/thread_siblings_list`,
        `${list}\n`,
      ]),
    );
  const allowed = (list: string) => ({
    "proc/self/status": `Name:\tnode\nCpus_allowed_list:\t${list}\nMems_allowed:\t1\n`,
  });
  const twoThreadsEach = topology("0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7");

  test.each<[what: string, files: Readonly<Record<string, string>>, cores: number | undefined]>([
    ["are all processors where each is a core", { ...allowed("0-3"), ...topology("0", "1", "2", "3") }, 4],
    ["are half of them where two are one core", { ...allowed("0-7"), ...twoThreadsEach }, 4],
    ["are those that it may run on", { ...allowed("0-1,6"), ...twoThreadsEach }, 3],
    ["are one where it may run on both threads of it alone", { ...allowed("2,6"), ...twoThreadsEach }, 1],
    [
      "are no more than its quota",
      {
        ...allowed("0-7"),
        ...twoThreadsEach,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": "200000 100000\n",
      },
      2,
    ],
    ["are not known where the system does not say which are one core", allowed("0-7"), undefined],
    ["are not known where one of them is left out", { ...allowed("0-2"), ...topology("0", "1") }, undefined],
    ["are not known without a list of processors", twoThreadsEach, undefined],
    ["are not known when the list is none", { ...allowed("all"), ...twoThreadsEach }, undefined],
  ])("%s", (_what, files, cores) => {
    expect(usableCores(rootWith(files))).toBe(cores);
  });

  test.skipIf(process.platform !== "linux")("of this machine are no more than its processors", () => {
    expect(usableCores() ?? 1).toBeGreaterThan(0);
    expect(usableCores() ?? 1).toBeLessThanOrEqual(availableParallelism());
  });
});

describe("the quota of a process", () => {
  test.each<[what: string, files: Readonly<Record<string, string>>, quota: number | undefined]>([
    ["is none without control groups", {}, undefined],
    [
      "is that of a container (version 2)",
      { "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n" },
      1.5,
    ],
    ["is none when it is max", { "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n" }, undefined],
    [
      "is the smallest of a group and those around it",
      {
        "proc/self/cgroup": "0::/system.slice/job.service\n",
        "sys/fs/cgroup/system.slice/job.service/cpu.max": "400000 100000\n",
        "sys/fs/cgroup/system.slice/cpu.max": "200000 100000\n",
        "sys/fs/cgroup/cpu.max": "max 100000\n",
      },
      2,
    ],
    [
      "is that of a container (version 1)",
      {
        "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      },
      0.5,
    ],
    [
      "is the outermost that is seen, where the path is one outside of the container",
      {
        "proc/self/cgroup": "3:cpu,cpuacct:/docker/2f1e\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      },
      3,
    ],
    [
      "is none when it is −1",
      {
        "proc/self/cgroup": "3:cpu:/\n0::/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      },
      undefined,
    ],
    [
      "is none of another controller",
      {
        "proc/self/cgroup": "3:cpuset,cpuacct:/\nnonsense\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      },
      undefined,
    ],
    [
      "is none when nothing readable is there",
      { "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "?" },
      undefined,
    ],
  ])("%s", (_what, files, quota) => {
    expect(readCpuQuota(rootWith(files))).toBe(quota);
  });
});
