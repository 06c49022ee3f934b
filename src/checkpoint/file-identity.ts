// Which file a name stood for when it was read, and whether it still does. Compares device, inode, size and time of the
// last change; never reads what is in a file.

import type { BigIntStats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  /** Bytes. */
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

/** The identity that a stat describes. */
export function identityIn({ dev, ino, size, mtimeNs }: BigIntStats): FileIdentity {
  return { dev, ino, size, mtimeNs };
}

/** The file that a path leads to, links followed; undefined when there is none, or something else than a plain file. */
export async function identifyFile(path: string): Promise<FileIdentity | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found?.isFile() ? identityIn(found) : undefined;
}

/** Every plain file in a folder, not below it, by its name. */
export async function identifyFiles(folder: string): Promise<ReadonlyMap<string, FileIdentity>> {
  const names = (await readdir(folder)).sort();
  const found = await Promise.all(names.map(async (name) => [name, await identifyFile(join(folder, name))] as const));
  return new Map(found.flatMap(([name, identity]) => (identity === undefined ? [] : [[name, identity] as const])));
}

/** Whether two descriptions are of the same bytes in the same file. */
export function isUnchanged(one: FileIdentity | undefined, other: FileIdentity | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return isSameFile(one, other) && one.size === other.size && one.mtimeNs === other.mtimeNs;
}

/** Whether two names lead to one file, whatever has happened to its bytes. */
export function isSameFile(one: FileIdentity, other: FileIdentity): boolean {
  return one.ino === other.ino && one.dev === other.dev;
}
