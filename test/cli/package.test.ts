// The package as npm ships it: which files are in it, and whether it runs where nothing else of this repository is.
// Installs from the npm registry.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EXAMPLE, makeExample } from "../helpers/example-checkpoint.js";
import { REPOSITORY, startProgram } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

/** ONNX Runtime's install script would download its CUDA files from a host that CI cannot reach. */
const ENVIRONMENT = { npm_config_onnxruntime_node_install: "skip", ONNXRUNTIME_NODE_INSTALL: "skip" };
const MAX_PACKED_BYTES = 8_000_000;

interface PackedFiles {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const { exitCode, stdout, stderr } = await startProgram(command, args, { cwd, env: ENVIRONMENT }).done;
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

test("the packed package has the program and its data, and runs after npm install in an empty folder", async () => {
  const folder = temporaryFolder();
  const packed = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], REPOSITORY);
  const [{ filename, size, files }] = JSON.parse(packed) as [PackedFiles];

  const paths = files.map(({ path }) => path);
  const { version } = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as { version: string };
  const example = existsSync(join(REPOSITORY, "examples/tiny-llama/config.json"))
    ? ["config.json", "tokenizer.json", "model.safetensors.index.json"].map((name) => `examples/tiny-llama/${name}`)
    : [];
  const needed = [
    "package.json",
    "LICENSE",
    "bin/create-kv-scales.js",
    "dist/cli.js",
    "dist/index.js",
    "dist/index.d.ts",
  ];
  expect(paths).toEqual(expect.arrayContaining([...needed, ...example]));
  expect(paths.some((path) => /^calibration-data\/calibration\/.*\.jsonl$/.test(path))).toBe(true);
  const allowed =
    /^(package\.json|LICENSE|[A-Z]+\.md|(bin|dist|calibration-data|examples\/tiny-llama)\/.+|examples\/README\.md)$/;
  expect(paths.filter((path) => !allowed.test(path))).toEqual([]);
  expect(paths.filter((path) => /\.test\.|\.py$|\.map$|\.tsbuildinfo$|(?<!\.d)\.ts$|\/\./.test(path))).toEqual([]);
  expect(size).toBeLessThan(MAX_PACKED_BYTES);

  const user = temporaryFolder();
  writeFileSync(join(user, "package.json"), JSON.stringify({ name: "user", private: true }));
  const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  await run("npm", ["install", ...options, join(folder, filename)], user);
  expect((await run("npx", ["--no", "--", "create-kv-scales", "--version"], user)).trim()).toBe(version);

  const { model, prompts, output } = makeExample(temporaryFolder());
  const report = await run("npx", ["--no", "--", "create-kv-scales", model, "-o", output, "--data", prompts], user);
  expect(report).toContain(`${EXAMPLE.layers} layers`);
  expect(existsSync(join(output, "config.json"))).toBe(true);

  if (example.length > 0) {
    // With the shipped prompts.
    const quiet = await run("npx", ["--no", "--", "create-kv-scales", "--samples", "8", "--quiet"], user);
    expect(quiet).toBe(`${join(user, "tiny-llama-FP8-KV")}\n`);
  }
}, 300_000);
