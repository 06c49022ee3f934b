// Exchanges two paths of one file system in one step (Linux: renameat2 with RENAME_EXCHANGE). Node has no call for it,
// so mv or perl does it. Knows nothing of what it exchanges.

import { spawn } from "node:child_process";
import { lstat } from "node:fs/promises";

interface Exchanger {
  readonly command: string;
  readonly args: (one: string, other: string) => readonly string[];
}

/** Number of the system call renameat2, by `process.arch`. */
const RENAMEAT2: Readonly<Record<string, number>> = { x64: 316, arm64: 276, riscv64: 276 };
const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;

/** mv of GNU coreutils 9.5 or later; perl, which Debian and its relatives always have. Tried in this order. */
const EXCHANGERS: readonly Exchanger[] = [
  { command: "mv", args: (one, other) => ["--exchange", "--no-copy", "-T", "--", one, other] },
  {
    command: "perl",
    args: (one, other) => [
      "-e",
      `exit(syscall(${RENAMEAT2[process.arch] ?? -1}, ${AT_FDCWD}, $ARGV[0], ${AT_FDCWD}, $ARGV[1], ${RENAME_EXCHANGE}) == 0 ? 0 : 1)`,
      "--",
      one,
      other,
    ],
  },
];

/** Those that have not failed yet; a program that is missing is not tried again. */
let exchangers = process.platform === "linux" && process.arch in RENAMEAT2 ? EXCHANGERS : [];

/**
 * Exchanges two paths of one file system atomically: at every moment each path exists.
 * @returns false when the system or file system cannot; nothing has changed then
 */
export async function exchangePaths(one: string, other: string): Promise<boolean> {
  for (const exchanger of exchangers) {
    const before = await inodesOf(one, other);
    const isDone = await runs(exchanger.command, exchanger.args(one, other));
    const [first, second] = await inodesOf(one, other);
    if (first === before[1] && second === before[0]) return true;
    if (!isDone) exchangers = exchangers.filter((each) => each !== exchanger);
  }
  return false;
}

async function inodesOf(one: string, other: string): Promise<[bigint, bigint]> {
  const found = await Promise.all([lstat(one, { bigint: true }), lstat(other, { bigint: true })]);
  return [found[0].ino, found[1].ino];
}

/** In a process group of its own, so that Ctrl-C reaches only this program. */
function runs(command: string, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: "ignore", detached: true });
    child.on("error", () => resolve(false));
    child.on("close", (code) => resolve(code === 0));
  });
}
