// A short run of kill-writes.js; the long one is a command in that file.

import { join } from "node:path";
import { expect, test } from "vitest";
import { someOf, TRIES_ALL } from "../helpers/how-much.js";
import { REPOSITORY, startProgram } from "../helpers/run-cli.js";

const SCRIPT = join(REPOSITORY, "test/attack/kill-writes.js");

const HOW_MUCH = TRIES_ALL ? ["--every", "200", "--random", "4"] : ["--every", "600", "--random", "2"];

const WAYS: readonly [how: string, args: readonly string[]][] = [
  ["", HOW_MUCH],
  [", where two folders cannot be exchanged", [...HOW_MUCH, "--no-exchange"]],
];

test.each(someOf(WAYS, (_way, at) => at === 0))(
  "killed, or with a failing disk, the writer leaves the old result or the new one%s",
  async (_how, args) => {
    const { stdout, stderr } = await startProgram(process.execPath, [SCRIPT, ...args]).done;
    const { runs, killed, failed, violations } = JSON.parse(stdout) as Record<string, unknown>;
    expect(violations, stderr).toEqual([]);
    expect(runs).toBeGreaterThan(6);
    // Without these the rest proves nothing.
    expect(killed).toBeGreaterThan(2);
    expect(failed).toBeGreaterThan(1);
  },
  180_000,
);
