// Stands between a test and the disk: sees each change, lets one fail, or kills the process there. Each test file mocks
// node:fs/promises with watchDisk and node:fs with watchSyncDisk; vi.mock is hoisted, so this file is imported inside its
// factories. Nothing waits for the disk: these tests write thousands of files, and cannot cut the power.

import { afterEach, expect } from "vitest";

type Disk = typeof import("node:fs/promises");
type SyncDisk = typeof import("node:fs");
type Processes = typeof import("../../src/checkpoint/process-identity.js");

/** Called before each change; what it throws is what the change throws. */
export const disk: { onChange: ((change: string, path: string) => void) | undefined } = { onChange: undefined };

/** The functions of node:fs/promises that change something, each calling `disk.onChange` first. */
export function watchDisk(real: Disk): Disk {
  function watched<F extends (...args: never[]) => unknown>(change: string, f: F): F {
    return (async (...args: Parameters<F>) => {
      disk.onChange?.(change, String(args[/^(link|rename|copyFile)$/.test(change) ? 1 : 0]));
      return f(...args);
    }) as unknown as F;
  }
  const openUnsynced: Disk["open"] = async (...args) => {
    const [path, flags] = args;
    if (typeof flags === "string" && flags !== "r") disk.onChange?.("open", String(path));
    return Object.assign(await real.open(...args), { sync: async () => undefined });
  };
  return {
    ...real,
    copyFile: watched("copyFile", real.copyFile),
    link: watched("link", real.link),
    mkdir: watched("mkdir", real.mkdir),
    open: openUnsynced,
    rename: watched("rename", real.rename),
    rm: watched("rm", real.rm),
    rmdir: watched("rmdir", real.rmdir),
    unlink: watched("unlink", real.unlink),
    utimes: watched("utimes", real.utimes),
    writeFile: watched("writeFile", (async (path: string, data: Uint8Array, options: object) =>
      real.writeFile(path, data, { ...options, flush: false })) as Disk["writeFile"]),
  };
}

/** The same for what is called without waiting: two renames between which nothing may come. */
export function watchSyncDisk(real: SyncDisk): SyncDisk {
  const renameSync: SyncDisk["renameSync"] = (from, to) => {
    disk.onChange?.("rename", String(to));
    real.renameSync(from, to);
  };
  return { ...real, renameSync };
}

/** What a test calls a kill leaves the process alive: its files count as those of a dead one. */
export function countAsDead(real: Processes): Processes {
  return { ...real, stateOf: (maker) => (isThisProcess(maker, real) ? "gone" : real.stateOf(maker)) };
}

/** Lets the disk work again after each test of the file. */
export function repairDiskAfterEach(): void {
  afterEach(() => {
    disk.onChange = undefined;
  });
}

function isThisProcess(maker: ReturnType<Processes["thisProcess"]>, real: Processes): boolean {
  return maker.pid === process.pid && maker.scope === real.thisProcess().scope;
}

/** How many changes of the disk `work` makes, and what they are. */
export async function changesOf(work: (onBegin: () => void) => Promise<unknown>): Promise<string[]> {
  const changes: string[] = [];
  await work(() => {
    disk.onChange = (change, path) => changes.push(`${change} ${path}`);
  });
  disk.onChange = undefined;
  return changes;
}

/** From the change number `from` on nothing happens any more: what a killed process leaves. */
export function killAt(from: number, counts: (change: string) => boolean = () => true): void {
  let seen = 0;
  disk.onChange = (change) => {
    if (seen > from || (counts(change) && seen++ === from)) {
      seen = from + 1;
      throw new Error("killed");
    }
  };
}

/** The change number `at` fails; those after it work. */
export function failAt(at: number, code: string, counts: (change: string, path: string) => boolean = () => true): void {
  let seen = 0;
  disk.onChange = (change, path) => {
    if (counts(change, path) && seen++ === at) throw Object.assign(new Error(`${code}: ${change}`), { code });
  };
}

/** What the work throws; that it throws nothing is a failure. */
export async function thrownBy(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  return expect.fail("nothing was thrown");
}
