// The package as npm ships it: which files are in it, and whether it installs from the npm registry alone and runs where
// nothing else of this repository is. test/install/ tries every package manager; this tries the npm that is here.

import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { EXAMPLE, makeExample } from "../helpers/example-checkpoint.js";
import { TRIES_ALL } from "../helpers/how-much.js";
import { REPOSITORY, startProgram } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";
import { LOCKED, MANIFEST, stageBundle, stageFiles } from "../helpers/staged-package.js";

/** Of our own files. The libraries that the package carries are a hundred times that. */
const MAX_PACKED_BYTES = 8_000_000;
const HAS_EXAMPLE = existsSync(join(REPOSITORY, "examples/tiny-llama/config.json"));

interface PackedFiles {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

/** Runs a program with nothing that keeps onnxruntime-node's install step from running. */
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const env = { ONNXRUNTIME_NODE_INSTALL: "", npm_config_onnxruntime_node_install: "" };
  const { exitCode, stdout, stderr } = await startProgram(command, args, { cwd, env }).done;
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

async function pack(folder: string, ...args: string[]): Promise<PackedFiles> {
  const [packed] = JSON.parse(await run("npm", ["pack", "--ignore-scripts", "--json", ...args], folder)) as [
    PackedFiles,
  ];
  return packed;
}

/** Relative links of a Markdown file, and names of other Markdown files in its text, from the repository's root. */
function linksOf(file: string): string[] {
  const text = readFileSync(join(REPOSITORY, file), "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
  const links = [...text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)].map(([, link = ""]) => join(dirname(file), link));
  const names = [...text.matchAll(/(?<![\w/.<-])[\w./-]+\.md\b/g)].map(([name]) => name);
  return [...links, ...names.filter((name) => existsSync(join(REPOSITORY, name)))].map((path) => normalize(path));
}

/** Packages that would run something when they are installed. */
function installStepsIn(folder: string): string[] {
  const manifests = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) =>
    /(^|\/)package\.json$/.test(path),
  );
  return manifests.filter((path) => {
    const { scripts = {} } = JSON.parse(readFileSync(join(folder, path), "utf8")) as { scripts?: object };
    return ["preinstall", "install", "postinstall"].some((step) => step in scripts);
  });
}

describe("the package", () => {
  test("has the program, its data, its license, and every page that README and docs link to", async () => {
    const folder = temporaryFolder();
    stageFiles(folder);
    const { files, size } = await pack(folder, "--dry-run");
    const paths = files.map(({ path }) => path);
    const example = ["config.json", "tokenizer.json", "model.safetensors.index.json"];
    expect(paths).toEqual(
      expect.arrayContaining([
        ...["package.json", "LICENSE", "THIRD_PARTY_NOTICES.md", "bin/create-kv-scales.js"],
        ...["dist/cli.js", "dist/index.js", "dist/index.d.ts"],
        ...(HAS_EXAMPLE ? example.map((name) => `examples/tiny-llama/${name}`) : []),
      ]),
    );
    expect(paths.some((path) => /^calibration-data\/calibration\/.*\.jsonl$/.test(path))).toBe(true);
    const allowed =
      /^(package\.json|LICENSE|[A-Z_]+\.md|(bin|dist|docs|schemas|calibration-data|examples\/tiny-llama)\/.+|examples\/README\.md)$/;
    expect(paths.filter((path) => !allowed.test(path))).toEqual([]);
    expect(paths.filter((path) => /\.test\.|\.py$|\.map$|\.tsbuildinfo$|(?<!\.d)\.ts$|\/\./.test(path))).toEqual([]);
    expect(size).toBeLessThan(MAX_PACKED_BYTES);

    const pages = ["README.md", ...paths.filter((path) => path.startsWith("docs/") && path.endsWith(".md"))];
    const links = pages.flatMap((page) => linksOf(page).map((link) => ({ page, link })));
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter(({ link }) => !paths.some((path) => path === link || path.startsWith(`${link}/`)))).toEqual([]);
  }, 120_000);

  // Packing and unpacking ONNX Runtime takes a quarter of a minute, and finds what changes seldom.
  test.skipIf(!TRIES_ALL)(
    "installs from the npm registry alone in an empty folder, and runs",
    async () => {
      const folder = temporaryFolder();
      stageFiles(folder);
      stageBundle(folder);
      cpSync(join(REPOSITORY, "scripts"), join(folder, "scripts"), { recursive: true });
      await run(process.execPath, ["scripts/trim-onnxruntime.js"], folder);
      const { filename } = await pack(folder);

      const user = temporaryFolder();
      writeFileSync(join(user, "package.json"), JSON.stringify({ name: "user", private: true }));
      // With its scripts: there are none.
      const options = ["--ignore-scripts=false", "--no-audit", "--no-fund", "--prefer-offline"];
      await run("npm", ["install", ...options, join(folder, filename)], user);
      const program = ["--no", "--", "create-kv-scales"];
      expect((await run("npx", [...program, "--version"], user)).trim()).toBe(MANIFEST.version);
      expect(installStepsIn(join(user, "node_modules"))).toEqual([]);

      const { model, prompts, output } = makeExample(temporaryFolder());
      const report = await run("npx", [...program, model, "-o", output, "--data", prompts], user);
      expect(report).toContain(`${EXAMPLE.layers} layers`);
      expect(existsSync(join(output, "config.json"))).toBe(true);

      if (HAS_EXAMPLE) {
        // With the shipped prompts.
        const quiet = await run("npx", [...program, "--example", "--samples", "8", "--quiet"], user);
        expect(quiet).toBe(`${join(user, "tiny-llama-FP8-KV")}\n`);
      }
    },
    300_000,
  );
});

test("no locked package has an install step: npm ci needs the npm registry alone (CONTRIBUTING.md says more)", () => {
  const withStep = Object.entries(LOCKED).filter(([, { hasInstallScript = false }]) => hasInstallScript);
  expect(withStep.map(([path]) => path)).toEqual([]);
});
