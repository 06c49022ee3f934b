// Makes a folder and those above it, and always ends. Node's recursive mkdir does not: below a folder that answers "no
// such file" to every mkdir, such as /proc, it never stops. Knows nothing of what goes into the folder.

import { mkdir, rmdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Makes the folder at `path`, with those above it that are missing.
 * @returns the new folders, from the top
 * @throws the system's error, or one with its code and a better message; folders made before are removed
 */
export async function makeFolders(path: string): Promise<string[]> {
  const missing: string[] = [];
  let folder = resolve(path);
  while (!(await isFolder(folder))) {
    missing.unshift(folder);
    // A drive that does not exist has no folder above it.
    if (dirname(folder) === folder) break;
    folder = dirname(folder);
  }
  const made: string[] = [];
  try {
    for (const name of missing) if (await makeFolder(name)) made.unshift(name);
    return made.reverse();
  } catch (error) {
    // They may not be empty: another process may use them.
    for (const name of made) await rmdir(name).catch(() => undefined);
    throw error;
  }
}

/** @returns whether it was not there before */
async function makeFolder(folder: string): Promise<boolean> {
  try {
    await mkdir(folder);
    return true;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const parent = dirname(folder);
    if (code === "EEXIST") {
      // Another process may have made it.
      if (await isFolder(folder)) return false;
      throw systemError("ENOENT", `${folder} is a link to something that is not there`, cause);
    }
    if (code === "ENOENT" && parent !== folder && (await isFolder(parent))) {
      throw systemError("ENOENT", `no folder can be made in ${parent}`, cause);
    }
    throw cause;
  }
}

/**
 * Whether `path` is a folder, links followed; false when nothing is there. @throws other errors of stat, and ENOTDIR
 */
async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined || found.isDirectory()) return found !== undefined;
  throw systemError("ENOTDIR", `${path} is not a folder`);
}

function systemError(code: string, message: string, cause?: unknown): Error {
  return Object.assign(new Error(`${code}: ${message}`, { cause }), { code });
}
