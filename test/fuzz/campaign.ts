// Runs cases one after the other and finds fault with them: an error that is not for the reader, a case that takes long.
// Which cases there are depends on the seed alone. Knows nothing of processes: memory and hangs are watched from outside.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KvScalesError } from "../../src/errors.js";
import { Random } from "./random.js";
import type { FuzzCase, Target } from "./targets.js";

/** Of the processor: how long it took depends on who else wants it. */
const TIME_LIMIT_MS = 1000;

export interface Fault {
  readonly target: string;
  /** Number of the case, or name of its file in the corpus. */
  readonly case: number | string;
  readonly what: string;
  /** The beginning of what was read. */
  readonly input: string;
}

export interface CampaignResult {
  readonly runs: number;
  /** Cases by target: how many were read, how many refused. */
  readonly outcomes: Readonly<Record<string, { read: number; refused: number }>>;
  readonly slowestMs: number;
  readonly faults: readonly Fault[];
}

export interface CampaignOptions {
  readonly targets: Readonly<Record<string, Target>>;
  readonly seed: number;
  /** The first case, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** Of the processor, for a case. */
  readonly limitMs?: number;
  /** Told before each case. */
  readonly onCase?: (index: number) => void;
}

const SHOWN_CHARACTERS = 2000;

/** Runs cases `from` to `to`. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { targets, seed, from, to, limitMs = TIME_LIMIT_MS, onCase } = options;
  const outcomes = Object.fromEntries(Object.keys(targets).map((name) => [name, { read: 0, refused: 0 }]));
  const faults: Fault[] = [];
  let slowestMs = 0;
  for (let index = from; index < to; index++) {
    onCase?.(index);
    const { name, target, input } = makeCase(targets, seed, index);
    let { milliseconds, fault, isRefused } = await runCase(target, input, limitMs);
    // Code may have been compiled meanwhile, or memory been tidied up.
    if (milliseconds > limitMs) ({ milliseconds, fault, isRefused } = await runCase(target, input, limitMs));
    slowestMs = Math.max(slowestMs, milliseconds);
    const outcome = outcomes[name];
    if (outcome !== undefined) outcome[isRefused ? "refused" : "read"]++;
    if (fault !== undefined) faults.push({ target: name, case: index, what: fault, input: describeInput(input) });
  }
  return { runs: to - from, outcomes, slowestMs, faults };
}

/** Runs every file of the corpus. @param corpus a folder per target; a header is there as its JSON */
export async function runCorpus(targets: Readonly<Record<string, Target>>, corpus: string): Promise<readonly Fault[]> {
  const faults: Fault[] = [];
  for (const name of readdirSync(corpus)) {
    const target = targets[name];
    if (target === undefined) throw new Error(`${corpus}: ${name} is no target`);
    for (const file of readdirSync(join(corpus, name))) {
      const text = readFileSync(join(corpus, name, file), "utf8");
      const { fault } = await runCase(target, { seed: 0, text });
      if (fault !== undefined)
        faults.push({ target: name, case: file, what: fault, input: text.slice(0, SHOWN_CHARACTERS) });
    }
  }
  return faults;
}

/** Case `index` of a campaign. */
function makeCase(targets: Readonly<Record<string, Target>>, seed: number, index: number) {
  const random = new Random(seed, index);
  let ticket = random.below(Object.values(targets).reduce((sum, { share }) => sum + share, 0));
  for (const [name, target] of Object.entries(targets)) {
    ticket -= target.share;
    if (ticket >= 0) continue;
    const chosen = random.below(target.seeds.length);
    const input: FuzzCase = { seed: chosen, ...target.mutate(random, target.seeds[chosen] ?? "") };
    return { name, target, input };
  }
  throw new Error("there is no target");
}

async function runCase(target: Target, input: FuzzCase, limitMs = TIME_LIMIT_MS) {
  const start = process.cpuUsage();
  let [fault, isRefused]: [string | undefined, boolean] = [undefined, false];
  try {
    await target.run(input);
  } catch (error) {
    isRefused = true;
    if (!(error instanceof KvScalesError))
      fault = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  const { user, system } = process.cpuUsage(start);
  const milliseconds = (user + system) / 1000;
  if (milliseconds > limitMs) fault ??= `took ${milliseconds.toFixed(0)} ms of the processor`;
  return { milliseconds, fault, isRefused };
}

function describeInput(input: FuzzCase): string {
  const text = "text" in input ? input.text : Buffer.from(input.file.start.subarray(8)).toString();
  return text.slice(0, SHOWN_CHARACTERS);
}
