// Writes in the cache which commit a revision stands for, as huggingface_hub does. Knows nothing of files.

import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolders } from "../checkpoint/make-folders.js";
import { readIfPresent } from "./hub-cache.js";
import { onDisk } from "./hub-errors.js";

/** To be called last, so that a revision never stands for a snapshot that is not whole. @throws HubError */
export async function writeRef(repoFolder: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return;
  const path = join(repoFolder, "refs", revision);
  if ((await readIfPresent(path))?.trim() === commit) return;
  await onDisk(path, async () => {
    await makeFolders(dirname(path));
    await writeFile(path, commit);
  });
}
