// A copy of what `npm pack` packs, in a folder of its own: so that packing and installing change nothing here. Of
// onnxruntime-node's libraries it has those of this machine alone, which is what makes it cheap.

import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join, relative } from "node:path";
import { REPOSITORY } from "./run-cli.js";

export interface Manifest {
  readonly version: string;
  readonly files: readonly string[];
}

export const MANIFEST = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as Manifest;
const LIBRARIES = join(REPOSITORY, "node_modules/onnxruntime-node/bin/napi-v6");
const HERE = join(LIBRARIES, process.platform, process.arch);

interface Lock {
  readonly packages: Readonly<Record<string, { readonly inBundle?: boolean; readonly hasInstallScript?: boolean }>>;
}

/** package-lock.json's entries by folder, such as "node_modules/semver". */
export const LOCKED = (JSON.parse(readFileSync(join(REPOSITORY, "package-lock.json"), "utf8")) as Lock).packages;

/** The project's own files. */
export function stageFiles(folder: string): void {
  for (const name of ["package.json", "LICENSE", "README.md", ...MANIFEST.files]) {
    const from = join(REPOSITORY, name);
    if (existsSync(from)) cpSync(from, join(folder, name), { recursive: true });
  }
}

/** The packages that ours carries. */
export function stageBundle(folder: string): void {
  for (const [path, { inBundle }] of Object.entries(LOCKED)) {
    if (inBundle) cpSync(join(REPOSITORY, path), join(folder, path), { recursive: true, filter: isNeededHere });
  }
}

/** All packages that are installed here, as links; onnxruntime-node as a copy that may be written. */
export function stageInstalled(folder: string): void {
  const packages = Object.keys(LOCKED).filter((path) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path));
  for (const path of packages) {
    if (path.endsWith("/onnxruntime-node") || !existsSync(join(REPOSITORY, path))) continue;
    mkdirSync(join(folder, path, ".."), { recursive: true });
    symlinkSync(join(REPOSITORY, path), join(folder, path));
  }
  const path = "node_modules/onnxruntime-node";
  cpSync(join(REPOSITORY, path), join(folder, path), { recursive: true, filter: isNeededHere });
}

/** Leaves out other machines' libraries, and those of CUDA. */
function isNeededHere(path: string): boolean {
  if (relative(LIBRARIES, path).startsWith("..") || HERE.startsWith(path)) return true;
  return path.startsWith(HERE) && !path.includes("libonnxruntime_providers_");
}
