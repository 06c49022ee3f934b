// The example, calibrated: the program computes once for each set of options, and every test gets a copy of its own.

import { cpSync, linkSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { calibrationOf, type ExampleFolder, makeExample } from "./example-checkpoint.js";
import { runMain } from "./run-cli.js";
import { temporaryFolder } from "./run-cli-folders.js";

const kept = mkdtempSync(join(tmpdir(), "create-kv-scales-test-"));
afterAll(() => rmSync(kept, { recursive: true, force: true }));
const example = makeExample(kept);
const results = new Map<string, Promise<string>>();

/** An example whose `output` is the result of a calibration with these options. */
export async function calibratedExample(...options: readonly string[]): Promise<ExampleFolder> {
  const key = options.join(" ");
  const result = results.get(key) ?? calibrate(join(kept, `output-${results.size}`), options);
  results.set(key, result);
  const copy = makeExample(temporaryFolder());
  copyResult(await result, copy);
  return copy;
}

/** Gives an example an earlier result of the same weights, which are linked as the program links them. */
export function copyResult(result: string, { model, output }: ExampleFolder): void {
  cpSync(result, output, { recursive: true });
  const weights = readdirSync(model).filter((name) => name.endsWith(".safetensors"));
  for (const name of readdirSync(output).filter((file) => file.endsWith(".safetensors"))) {
    const path = join(output, name);
    const twin = weights.find((weight) => readFileSync(join(model, weight)).equals(readFileSync(path)));
    if (twin === undefined) continue;
    rmSync(path);
    linkSync(join(model, twin), path);
  }
}

async function calibrate(output: string, options: readonly string[]): Promise<string> {
  const result = await runMain(calibrationOf({ ...example, output }, "--quiet", ...options));
  expect(result).toMatchObject({ exitCode: 0 });
  return output;
}
