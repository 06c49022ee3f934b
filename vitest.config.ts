// How the tests run: on the CPU, how many of them, and in which processes. Loading the program and ONNX Runtime takes half a
// second of a core, so files share a process, except those that change what the next one would find: their text says so.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Mocks and stubs, another environment or folder. test/helpers/same-process.ts notices what this misses. */
const CHANGES_ITS_PROCESS = /\bvi\.|\bprocess\.(env|chdir)\b|\bdisk-faults\b/;
/** Files in which `--mode all` tries more. It runs these alone, as the others would only run again. */
const KNOWS_MORE = /\bhow-much\b/;

function testsWith(text: RegExp): string[] {
  return readdirSync("test", { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join("test", name))
    .filter((file) => text.test(readFileSync(file, "utf8")));
}

export default defineConfig(({ mode }) => {
  const triesAll = mode === "all";
  const files = testsWith(triesAll ? KNOWS_MORE : /^/);
  const changing = new Set(testsWith(CHANGES_ITS_PROCESS));
  return {
    test: {
      testTimeout: 60_000,
      hookTimeout: 120_000,
      // Most tests wait for one process at a time: with a core left idle they take half as long again.
      maxWorkers: "100%",
      // The built program is JavaScript already.
      server: { deps: { external: [/\/dist\//] } },
      env: {
        // What the tests expect is computed on the CPU; a machine with a GPU must not change it. Tests of others name them.
        CREATE_KV_SCALES_PROVIDER: "cpu",
        // Tests that open sessions of their own must not report to anyone, either.
        ORT_DISABLE_TELEMETRY: "1",
        TEST_ALL: triesAll ? "1" : "",
      },
      projects: [
        { extends: true, test: { name: "alone", include: files.filter((file) => changing.has(file)) } },
        {
          extends: true,
          test: {
            name: "together",
            include: files.filter((file) => !changing.has(file)),
            isolate: false,
            setupFiles: ["test/helpers/same-process.ts"],
          },
        },
      ],
    },
  };
});
