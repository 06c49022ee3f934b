// The identity of a file when it was read, to see later whether the path still leads to it unchanged. Compares device,
// inode, size and modification time; never reads the content.

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

/** The file that a path leads to, links followed; undefined when there is no plain file. */
export async function identifyFile(path: string): Promise<FileIdentity | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found?.isFile() ? identityIn(found) : undefined;
}

/** Every plain file directly in a folder, by its name. */
export async function identifyFiles(folder: string): Promise<ReadonlyMap<string, FileIdentity>> {
  const names = (await readdir(folder)).sort();
  const found = await Promise.all(names.map(async (name) => [name, await identifyFile(join(folder, name))] as const));
  return new Map(found.flatMap(([name, identity]) => (identity === undefined ? [] : [[name, identity] as const])));
}

/** Whether both are the same file with the same bytes. */
export function isUnchanged(one: FileIdentity | undefined, other: FileIdentity | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return isSameFile(one, other) && one.size === other.size && one.mtimeNs === other.mtimeNs;
}

/** Whether both are the same file, perhaps with other bytes. */
export function isSameFile(one: FileIdentity, other: FileIdentity): boolean {
  return one.ino === other.ino && one.dev === other.dev;
}
