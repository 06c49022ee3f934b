// How many threads compute where a process may not use the whole machine, and where that is written.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { type Processors, readCpuQuota, threadLimit } from "../../src/runtime/processors.js";

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

describe("the quota of a process", () => {
  const roots: string[] = [];
  afterEach(() => {
    for (const root of roots.splice(0)) rmSync(root, { recursive: true });
  });

  function rootWith(files: Readonly<Record<string, string>>): string {
    const root = mkdtempSync(join(tmpdir(), "kv-scales-cgroup-"));
    roots.push(root);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return root;
  }

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
