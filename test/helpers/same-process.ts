// Runs around each test file that shares its process with others. It prepares the process for all of them, and what a file
// leaves changed for the next one is an error of that file.

import { afterAll, expect } from "vitest";
import { preloadRuntime } from "../../src/runtime/session.js";

// The models of the tests are so small that a second thread only waits for the first by turning round, and several test files
// run side by side.
preloadRuntime(1);

const [env, folder, exitCode] = [{ ...process.env }, process.cwd(), process.exitCode];

afterAll(() => {
  const variables = new Set([...Object.keys(env), ...Object.keys(process.env)]);
  const changed = [...variables].filter((name) => process.env[name] !== env[name]);
  const found = { changed, folder: process.cwd(), exitCode: process.exitCode };
  const advice = "This file needs a process of its own: vitest.config.ts says by what it is known";
  expect(found, advice).toEqual({ changed: [], folder, exitCode });
});
