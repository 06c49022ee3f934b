// Makes the installed onnxruntime-node what our package carries (`bundleDependencies`): without its install step, which
// downloads CUDA libraries from outside the npm registry and fails where that host is not reachable, and without files
// that no platform loads. Runs before `npm pack`. Can run twice; `npm ci` brings everything back.

import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const manifestPath = createRequire(import.meta.url).resolve("onnxruntime-node/package.json");
const folder = dirname(manifestPath);

const {
  scripts: _scripts,
  devDependencies: _devDependencies,
  ...manifest
} = JSON.parse(readFileSync(manifestPath, "utf8"));
// Renamed into place: package managers hard-link files, and the other links must keep the original.
writeFileSync(`${manifestPath}.new`, `${JSON.stringify(manifest, null, 2)}\n`);
renameSync(`${manifestPath}.new`, manifestPath);

// The macOS library is there twice under two names; the binding loads the short one.
const darwin = join(folder, "bin/napi-v6/darwin/arm64");
const long = join(darwin, `libonnxruntime.${manifest.version}.dylib`);
if (existsSync(join(darwin, "libonnxruntime.1.dylib"))) rmSync(long, { force: true });

// CUDA libraries that somebody downloaded here are for this machine alone.
for (const file of readdirSync(join(folder, "bin"), { recursive: true, withFileTypes: true }))
  if (file.name.startsWith("libonnxruntime_providers_")) rmSync(join(file.parentPath, file.name));
