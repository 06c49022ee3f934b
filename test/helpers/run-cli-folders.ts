// Temporary folders of a test, and what is in a folder as one comparable value.

import { createHash } from "node:crypto";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A folder that lives as long as the test that asks for it. */
export function temporaryFolder(parent = tmpdir()): string {
  const folder = mkdtempSync(join(parent, "create-kv-scales-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Every entry below a folder: a file as the hash of its bytes, a link as where it points. */
export function snapshot(folder: string, path = ""): Record<string, string> {
  const entries: Record<string, string> = {};
  for (const name of readdirSync(join(folder, path)).sort()) {
    const relative = join(path, name);
    const found = lstatSync(join(folder, relative));
    if (found.isSymbolicLink()) entries[relative] = `link to ${readlinkSync(join(folder, relative))}`;
    else if (found.isDirectory()) Object.assign(entries, { [relative]: "folder" }, snapshot(folder, relative));
    else
      entries[relative] = createHash("sha256")
        .update(readFileSync(join(folder, relative)))
        .digest("hex");
  }
  return entries;
}
