// Progress on stderr: one spinner line in a terminal, a plain line now and then elsewhere, nothing with --quiet.
// The only importer of the spinner. Knows nothing of results.

import { counted, formatCount } from "../counted.js";
import type { CalibrationProgress } from "../pipeline/calibration-result.js";
import type { InstallProgress } from "../pipeline/install-provider.js";
import type { ProbeProgress } from "../pipeline/list-providers.js";
import type { VerificationProgress } from "../pipeline/verify-settings.js";
import { widthOf } from "./screen.js";
import { showLine } from "./shown-text.js";
import { formatBar, formatBytes, formatSeconds } from "./text.js";
import type { TextOutput } from "./text-output.js";
import { clipText } from "./verify-lines.js";

/** Interval of lines in a log: often enough to show that the work goes on. */
const LOG_INTERVAL_MS = 30_000;
const BAR_WIDTH = 16;
const NARROW_BAR_WIDTH = 6;
/** On a narrower screen, the long bar would leave no room for the text after it. */
const NARROW_SCREEN = 70;
/** Characters of a line: a long name must not fill the screen. */
const LINE_LIMIT = 200;
/** Columns of the spinner, and the last column, where some terminals break the line. */
const SPINNER_WIDTH = 3;
const SEPARATOR = " · ";

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
  const { stream } = output;
  if (!output.isTTY) return logLines(output);
  const describe = createDescriber(() => barWith(widthOf(stream) < NARROW_SCREEN ? NARROW_BAR_WIDTH : BAR_WIDTH));
  // The terminal stays in its own mode: in raw mode Ctrl-C would not reach the process as a signal.
  const options = { stream, isEnabled: true, discardStdin: false, ...(color ? {} : { color: false as const }) };
  const { default: ora } = await import("ora");
  const spinner = ora({ ...options, text: "Starting" }).start();
  return {
    update(progress) {
      // It contains file names from a hub.
      spinner.text = fitLine(showLine(describe(progress), LINE_LIMIT), widthOf(stream) - SPINNER_WIDTH);
    },
    stop() {
      spinner.stop();
    },
  };
}

/** A line at the beginning of a stage, then one at each interval, with its time, even while nothing is reported. */
function logLines(output: TextOutput): ProgressDisplay {
  const describe = createDescriber(() => percentOf);
  let latest: Progress | undefined;
  let timer: NodeJS.Timeout | undefined;
  const write = (line: string) => output.write(`${timestamp()} ${showLine(line, LINE_LIMIT)}\n`);
  return {
    update(progress) {
      const isNew = pieceOf(progress) !== (latest && pieceOf(latest));
      latest = progress;
      // Said each time: rates count from the first.
      const line = describe(progress);
      if (!isNew) return;
      write(line);
      clearInterval(timer);
      timer = setInterval(() => write(describe(progressNow())), LOG_INTERVAL_MS).unref();
    },
    stop() {
      clearInterval(timer);
    },
  };

  function progressNow(): Progress {
    return latest ?? { stage: "open" };
  }
}

/** "2026-11-26T21:50:03Z" */
function timestamp(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, "Z");
}

/** The progress after the name of a stage: a bar, or a share. */
type ShareWriter = (done: number, total: number) => string;

/** Remembers when computing began, for the rate. */
function createDescriber(writer: () => ShareWriter): (progress: Progress) => string {
  const barOf: ShareWriter = (done, total) => writer()(done, total);
  let measuring: { readonly piece: string; readonly start: number } | undefined;
  let evaluating: { readonly what: string; readonly start: number } | undefined;
  const describeEvaluating = ({ what, done, tokens }: Extract<Progress, { stage: "evaluate" }>) => {
    if (evaluating?.what !== what) evaluating = { what, start: performance.now() };
    const seconds = (performance.now() - evaluating.start) / 1000;
    const where = `Verifying ${barOf(done, 1)} ${what} · ${counted(tokens, "token")}`;
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
      case "try":
        return "Computing for a second";
      case "measure": {
        const piece = pieceOf(progress);
        if (measuring?.piece !== piece) measuring = { piece, start: performance.now() };
        return describeMeasuring(progress, barOf, (performance.now() - measuring.start) / 1000);
      }
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

/** What is done at once: a stage, or a round of it. */
function pieceOf(progress: Progress): string {
  return progress.stage === "measure" ? `measure ${progress.round?.first ?? ""}` : progress.stage;
}

function describeMeasuring(
  progress: Extract<CalibrationProgress, { stage: "measure" }>,
  barOf: ShareWriter,
  seconds: number,
): string {
  const { layersDone, layers, tokenLayersDone, tokenLayers, tokens, round } = progress;
  const what = round === undefined ? "Calibrating" : `Prompts ${round.first}–${round.last} of ${round.of}`;
  const where = `${what} ${barOf(tokenLayersDone, tokenLayers)} layer ${layersDone}/${layers}`;
  if (tokenLayersDone === 0 || seconds < 0.5) return `${where} · ${counted(tokens, "token")}`;
  const rate = tokenLayersDone / layers / seconds;
  const left = ((tokenLayers - tokenLayersDone) / tokenLayersDone) * seconds;
  return `${where} · ${formatCount(rate)} tokens/s · ${formatSeconds(left)} left`;
}

/** Leaves out parts in the middle until a line fits: the remaining time comes last. */
function fitLine(line: string, columns: number): string {
  const [first = "", ...others] = line.split(SEPARATOR);
  while (others.length > 1 && [first, ...others].join(SEPARATOR).length > columns) others.shift();
  return clipText([first, ...others].join(SEPARATOR), columns);
}

function barWith(width: number): ShareWriter {
  return (done, total) => `▕${formatBar(total === 0 ? 0 : done / total, width)}▏`;
}

function percentOf(done: number, total: number): string {
  return `${Math.floor(total === 0 ? 0 : (100 * done) / total)} %,`;
}
