// A short run of kill-writes.js; the long one is a command in that file.

import { join } from "node:path";
import { expect, test } from "vitest";
import { REPOSITORY, startProgram } from "../helpers/run-cli.js";

const SCRIPT = join(REPOSITORY, "test/attack/kill-writes.js");

test.each<[how: string, args: readonly string[]]>([
  ["", ["--every", "200", "--random", "4"]],
  [", where two folders cannot be exchanged", ["--every", "200", "--random", "4", "--no-exchange"]],
])(
  "killed, or with a failing disk, the writer leaves the old result or the new one%s",
  async (_how, args) => {
    const { stdout, stderr } = await startProgram(process.execPath, [SCRIPT, ...args]).done;
    const { runs, killed, failed, violations } = JSON.parse(stdout) as Record<string, unknown>;
    expect(violations, stderr).toEqual([]);
    expect(runs).toBeGreaterThan(8);
    // Without these the rest proves nothing.
    expect(killed).toBeGreaterThan(2);
    expect(failed).toBeGreaterThan(1);
  },
  180_000,
);
