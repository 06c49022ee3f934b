// Progress on stderr: one spinner line in a terminal, a plain line now and then elsewhere, nothing with --quiet.
// The only importer of the spinner. Knows nothing of results.

import { formatCount } from "../counted.js";
import type { CalibrationProgress } from "../pipeline/calibrate.js";
import type { InstallProgress } from "../pipeline/install-provider.js";
import type { ProbeProgress } from "../pipeline/list-providers.js";
import type { VerificationProgress } from "../pipeline/verify.js";
import { showLine } from "./shown-text.js";
import { formatBar, formatBytes, formatSeconds } from "./text.js";
import type { TextOutput } from "./text-output.js";

/** In a log, a line this often says that the work goes on without burying the rest. */
const LOG_INTERVAL_MS = 10_000;
const BAR_WIDTH = 16;
/** Characters of a line: a long name must not fill the screen. */
const LINE_LIMIT = 200;

/** Whatever a command reports while it works. */
export type Progress = CalibrationProgress | VerificationProgress | ProbeProgress | InstallProgress;

export interface ProgressDisplay {
  update(progress: Progress): void;
  /** Clears the line; nothing may be shown after it. */
  stop(): void;
}

export interface DisplayOptions {
  readonly output: TextOutput;
  readonly quiet: boolean;
  readonly color: boolean;
}

/** Chooses how progress is shown. The spinner is loaded for a terminal alone. */
export async function createProgressDisplay({ output, quiet, color }: DisplayOptions): Promise<ProgressDisplay> {
  if (quiet) return { update() {}, stop() {} };
  const describeInFull = createDescriber();
  // Names of files stand in it, which a hub gives.
  const describe = (progress: Progress) => showLine(describeInFull(progress), LINE_LIMIT);
  const { stream } = output;
  if (!output.isTTY) return logLines(output, describe);
  // The terminal stays in its own mode: in raw mode Ctrl-C would not reach the process as a signal.
  const options = { stream, isEnabled: true, discardStdin: false, ...(color ? {} : { color: false as const }) };
  const { default: ora } = await import("ora");
  const spinner = ora({ ...options, text: "Starting" }).start();
  return {
    update(progress) {
      spinner.text = describe(progress);
    },
    stop() {
      spinner.stop();
    },
  };
}

function logLines(output: TextOutput, describe: (progress: Progress) => string): ProgressDisplay {
  let stage: string | undefined;
  let last = 0;
  return {
    update(progress) {
      const now = performance.now();
      const line = describe(progress);
      if (progress.stage === stage && now - last < LOG_INTERVAL_MS) return;
      stage = progress.stage;
      last = now;
      output.write(`${line}\n`);
    },
    stop() {},
  };
}

/** Remembers when computing began, for the rate. */
function createDescriber(): (progress: Progress) => string {
  let start: number | undefined;
  let evaluating: { readonly what: string; readonly start: number } | undefined;
  const describeEvaluating = ({ what, done, tokens }: Extract<Progress, { stage: "evaluate" }>) => {
    if (evaluating?.what !== what) evaluating = { what, start: performance.now() };
    const seconds = (performance.now() - evaluating.start) / 1000;
    const where = `Verifying ${barOf(done, 1)} ${what} · ${formatCount(tokens)} tokens`;
    return done === 0 || seconds < 0.5 ? where : `${where} · ${formatSeconds((1 / done - 1) * seconds)} left`;
  };
  let generatingSince: number | undefined;
  const describeGenerating = ({ texts, ofTexts, tokens }: Extract<Progress, { stage: "generate" }>) => {
    if (tokens > 0) generatingSince ??= performance.now();
    const seconds = (performance.now() - (generatingSince ?? performance.now())) / 1000;
    const where = `Generating ${barOf(texts, ofTexts)} text ${Math.min(texts + 1, ofTexts)}/${ofTexts}`;
    return tokens === 0 || seconds < 0.5 ? where : `${where} · ${formatCount(tokens / seconds)} tokens/s`;
  };
  return (progress) => {
    switch (progress.stage) {
      case "download": {
        const { file, fileIndex, fileCount, receivedBytes, totalBytes } = progress;
        const bar = barOf(receivedBytes, totalBytes);
        return `Downloading ${bar} ${formatBytes(receivedBytes)} of ${formatBytes(totalBytes)} · ${file} (${fileIndex}/${fileCount})`;
      }
      case "open":
        return "Reading the checkpoint's headers";
      case "tokenize":
        return "Tokenizing the prompts";
      case "measure":
        start ??= performance.now();
        return describeMeasuring(progress, (performance.now() - start) / 1000);
      case "evaluate":
        return describeEvaluating(progress);
      case "generate":
        return describeGenerating(progress);
      case "probe":
        return `Trying ${progress.provider}`;
      case "install":
        return `Downloading and unpacking · ${formatBytes(progress.receivedBytes)}`;
      case "write":
        return `Copying weights ${barOf(progress.copiedBytes, progress.totalBytes)} ${formatBytes(progress.copiedBytes)} of ${formatBytes(progress.totalBytes)}`;
    }
  };
}

function describeMeasuring(progress: Extract<CalibrationProgress, { stage: "measure" }>, seconds: number): string {
  const { layersDone, layers, tokenLayersDone, tokenLayers, tokens } = progress;
  const where = `Calibrating ${barOf(tokenLayersDone, tokenLayers)} layer ${layersDone}/${layers}`;
  if (tokenLayersDone === 0 || seconds < 0.5) return `${where} · ${formatCount(tokens)} tokens`;
  const rate = tokenLayersDone / layers / seconds;
  const left = ((tokenLayers - tokenLayersDone) / tokenLayersDone) * seconds;
  return `${where} · ${formatCount(rate)} tokens/s · ${formatSeconds(left)} left`;
}

function barOf(done: number, total: number): string {
  return `▕${formatBar(total === 0 ? 0 : done / total, BAR_WIDTH)}▏`;
}
