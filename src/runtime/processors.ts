// How many of the machine's processors this process may use, and so how many threads a session gets: in a container
// often not all. ONNX Runtime counts the machine's processors, binds its threads to them, and its waiting threads spin.
// Knows no session.

import { readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { dirname, join } from "node:path";

export interface Processors {
  /** Processors of the machine. */
  readonly all: number;
  /** Processors that this process may run on. */
  readonly allowed: number;
  /** Its quota of processor time, in processors: 1.5 is one and a half. Undefined: no limit. */
  readonly quota?: number | undefined;
}

/** Threads of a session; undefined when the whole machine may be used, which ONNX Runtime knows better than we do. */
export function threadLimit({ all, allowed, quota = all }: Processors = processorsHere()): number | undefined {
  const usable = Math.min(allowed, wholeProcessors(quota));
  return usable < all ? usable : undefined;
}

/** A thread without processor time keeps the others waiting, so half a processor counts as one, and less does not. */
function wholeProcessors(quota: number): number {
  return Math.max(1, Math.round(quota));
}

/**
 * Physical cores that this process may use: two threads of one core multiply matrices no faster than one.
 * @param root where the file system begins
 * @returns undefined where the system does not say which processors share a core: everywhere but on Linux
 */
export function usableCores(root = "/"): number | undefined {
  const status = readText(join(root, "proc/self/status")) ?? "";
  const [, allowed = ""] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status) ?? [];
  const cores = listedNumbers(allowed).map((processor) =>
    readText(join(root, `sys/devices/system/cpu/cpu${processor}/topology/thread_siblings_list`)),
  );
  if (cores.length === 0 || cores.includes(undefined)) return undefined;
  return Math.min(new Set(cores).size, wholeProcessors(readCpuQuota(root) ?? Number.POSITIVE_INFINITY));
}

/** "0-3,8" as the kernel writes it. */
function listedNumbers(list: string): number[] {
  return [...list.matchAll(/(\d+)(?:-(\d+))?/g)].flatMap(([, first, last = first]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index),
  );
}

function processorsHere(): Processors {
  return { all: cpus().length, allowed: availableParallelism(), quota: readCpuQuota() };
}

/**
 * The smallest quota of this process's cgroups, as `docker run --cpus` and Kubernetes set it.
 * @param root where the file system begins
 */
export function readCpuQuota(root = "/"): number | undefined {
  const lines = readText(join(root, "proc/self/cgroup"))?.split("\n") ?? [];
  const quotas = lines.flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    // cgroup v2 has one tree; v1 has one for each controller.
    if (controllers === "") return quotasOf(join(root, "sys/fs/cgroup"), path, quotaInVersion2);
    return controllers.split(",").includes("cpu")
      ? quotasOf(join(root, "sys/fs/cgroup/cpu"), path, quotaInVersion1)
      : [];
  });
  return quotas.length === 0 ? undefined : Math.min(...quotas);
}

/**
 * The paths of a cgroup and of those around it. A container that does not see its own sees the outermost in its place.
 */
function quotasOf(tree: string, path: string, read: (group: string) => number | undefined): number[] {
  const groups = [path];
  while (groups.at(-1) !== "/") groups.push(dirname(groups.at(-1) ?? "/"));
  return groups.flatMap((group) => read(join(tree, group)) ?? []);
}

/** "max 100000", or the quota and the period in microseconds. */
function quotaInVersion2(group: string): number | undefined {
  const [quota, period] = readText(join(group, "cpu.max"))?.trim().split(" ") ?? [];
  return ratio(quota, period);
}

function quotaInVersion1(group: string): number | undefined {
  return ratio(readText(join(group, "cpu.cfs_quota_us")), readText(join(group, "cpu.cfs_period_us")));
}

/** "max" and −1 are no limit. */
function ratio(quota: string | undefined, period: string | undefined): number | undefined {
  const result = Number(quota) / Number(period);
  return Number.isFinite(result) && result > 0 ? result : undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
