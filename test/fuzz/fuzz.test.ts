// A short campaign of the fuzzer, with everything that it has found before. `npm run fuzz` runs long ones, watched for memory
// and hangs.

import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { KvScalesError } from "../../src/errors.js";
import { tries } from "../helpers/how-much.js";
import { REPOSITORY } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";
import { runCampaign, runCorpus } from "./campaign.js";
import { makeTargets, type Target } from "./targets.js";

const RUNS = tries({ few: 800, all: 2000 });

const targetsIn = (folder: string) => makeTargets(REPOSITORY, folder);

test("whatever is mutated is read, or refused with an error for the reader, within a second", async () => {
  const { faults, outcomes } = await runCampaign({
    targets: await targetsIn(temporaryFolder()),
    seed: 7,
    from: 0,
    to: RUNS,
  });
  expect(faults).toEqual([]);
  // Mutations that are all refused at the door, or all let through, would test nothing.
  for (const [target, { read, refused }] of Object.entries(outcomes)) {
    expect([target, read > 0, refused > 0]).toEqual([target, true, true]);
  }
});

test("what was found before is found no more", async () => {
  expect(await runCorpus(await targetsIn(temporaryFolder()), join(REPOSITORY, "test/fuzz/corpus"))).toEqual([]);
});

/** Much less than a case may take else, more than a sound one takes at its worst. */
const LIMIT_MS = 100;
let faulty: Readonly<Record<string, Target>>;
beforeAll(() => {
  const seeds = ['{"a":1}'];
  const mutate = () => ({ text: "x" });
  const target = (run: Target["run"]): Target => ({ share: 1, seeds, mutate, run });
  faulty = {
    type: target(() => Promise.reject(new TypeError("a bug"))),
    slow: target(async () => {
      for (const start = process.cpuUsage(); process.cpuUsage(start).user < 1000 * (LIMIT_MS + 10); ) Math.random();
    }),
    sound: target(() =>
      Promise.reject(
        new (class extends KvScalesError {
          readonly exitCode = 3;
        })("refused"),
      ),
    ),
  };
});

test("a bug and a slow case are found, and come again with the same seed", async () => {
  const run = () => runCampaign({ targets: faulty, seed: 1, from: 0, to: 6, limitMs: LIMIT_MS });
  const [first, again] = [await run(), await run()];
  const places = ({ faults }: typeof first) => faults.map((fault) => [fault.target, fault.case]);
  expect(new Set(first.faults.map(({ target }) => target))).toEqual(new Set(["type", "slow"]));
  expect(places(again)).toEqual(places(first));
});
