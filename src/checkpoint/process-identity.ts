// Which process made a temporary file or folder, and whether it still runs. A process id is not enough: two containers
// that share a folder may have equal ids, and ids are reused.

import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

export interface ProcessIdentity {
  readonly pid: number;
  /** The scope of the id: a hash of the machine, its boot and the namespace of process ids. */
  readonly scope: string;
  /** Start time of the process, in the kernel's ticks since boot; empty where the system does not say it. */
  readonly started: string;
}

const SCOPE_LENGTH = 8;

/** `<pid>-<scope>-<random>`: the part of a temporary name that identifies the process. */
const TAG = /^(\d{1,10})-([0-9a-f]{8})-[0-9a-f]{8}$/;

/** This process. */
export function thisProcess(): ProcessIdentity {
  return { pid: process.pid, scope: thisScope(), started: startOf(process.pid) ?? "" };
}

/** A part of a name that no other process in any namespace uses, and this one only once. */
export function temporaryTag(): string {
  return `${process.pid}-${thisScope()}-${randomBytes(4).toString("hex")}`;
}

/** The maker of a name; undefined when it is not one of `temporaryTag`. */
export function makerOfTag(tag: string): ProcessIdentity | undefined {
  const [, pid, scope] = TAG.exec(tag) ?? [];
  return pid === undefined || scope === undefined ? undefined : { pid: Number(pid), scope, started: "" };
}

/** "unknown": the process belongs to another machine or container, or to an earlier boot of this one. */
export function stateOf({ pid, scope, started }: ProcessIdentity): "running" | "gone" | "unknown" {
  if (scope !== thisScope()) return "unknown";
  const start = startOf(pid);
  if (start !== undefined && started !== "") return start === started ? "running" : "gone";
  return answersSignals(pid) ? "running" : "gone";
}

let scope: string | undefined;

function thisScope(): string {
  scope ??= createHash("sha256")
    .update([hostname(), textOf("/proc/sys/kernel/random/boot_id"), linkOf("/proc/self/ns/pid")].join("\n"))
    .digest("hex")
    .slice(0, SCOPE_LENGTH);
  return scope;
}

/** Field 22 of /proc/<pid>/stat. The program's name may contain anything; it ends at the last parenthesis. */
function startOf(pid: number): string | undefined {
  const text = textOf(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
