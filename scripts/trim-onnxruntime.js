// Makes the installed onnxruntime-node what our package carries (`bundleDependencies`): without its install step, which
// downloads CUDA libraries from outside the npm registry and fails where that host is not reachable, and without files
// that no platform loads. Runs before `npm pack`. Can run twice; `npm ci` brings everything back.
//
//   node scripts/trim-onnxruntime.js [platform/arch ...]     keeps the libraries of these alone, such as linux/x64

import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../node_modules/onnxruntime-node", import.meta.url));
const manifestPath = join(folder, "package.json");
const libraries = join(folder, "bin/napi-v6");
const wanted = process.argv.slice(2);

const {
  scripts: _scripts,
  devDependencies: _devDependencies,
  ...manifest
} = JSON.parse(readFileSync(manifestPath, "utf8"));
// Renamed into place: package managers hard-link files, and the other links must keep the original.
writeFileSync(`${manifestPath}.new`, `${JSON.stringify(manifest, null, 2)}\n`);
renameSync(`${manifestPath}.new`, manifestPath);

// The macOS library is there under two names; the binding loads the short one.
const darwin = join(libraries, "darwin/arm64");
const longName = join(darwin, `libonnxruntime.${manifest.version}.dylib`);
if (existsSync(join(darwin, "libonnxruntime.1.dylib"))) rmSync(longName, { force: true });

for (const platform of readdirSync(libraries)) {
  for (const arch of readdirSync(join(libraries, platform))) {
    const place = join(libraries, platform, arch);
    if (wanted.length > 0 && !wanted.includes(`${platform}/${arch}`)) rmSync(place, { recursive: true });
    // What somebody downloaded here for CUDA is for this machine alone.
    else
      for (const name of readdirSync(place))
        if (name.startsWith("libonnxruntime_providers_")) rmSync(join(place, name));
  }
}
for (const name of readdirSync(folder)) {
  if (name.startsWith(".cuda-download-")) rmSync(join(folder, name), { recursive: true });
}
const kept = readdirSync(libraries).flatMap((platform) =>
  readdirSync(join(libraries, platform)).map((arch) => `${platform}/${arch}`),
);
const missing = wanted.filter((name) => !kept.includes(name));
if (missing.length > 0) throw new Error(`onnxruntime-node has no ${missing.join(", ")} (any more): run npm ci`);
