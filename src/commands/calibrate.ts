// The main command: options in, calibration called, report out. Touches no file itself.

import { type Command, Option } from "commander";
import { OUTPUT_FORMATS, type OutputFormatName } from "../checkpoint/output-formats.js";
import { UsageError } from "../errors.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { ProviderChoice } from "../pipeline/choose-provider.js";
import { EMBEDDED_EXAMPLE } from "../pipeline/locate-model.js";
import { CALIBRATION_DEFAULTS } from "../pipeline/run-options.js";
import { screenOf } from "../report/screen.js";
import { PATH_LIMIT, showLine } from "../report/shown-text.js";
import { warningLines } from "../report/warning-lines.js";
import { assumeHarmlessOption } from "./assume-harmless-option.js";
import type { CommandContext } from "./command-context.js";
import { addDataOptions, type DataFlags } from "./data-options.js";
import {
  parseBytes,
  parseDevices,
  parseHeadroom,
  parsePositiveInteger,
  parseSeed,
  parseText,
} from "./option-values.js";
import { providerOption } from "./provider-option.js";
import { withProgress } from "./with-progress.js";

interface CalibrateFlags extends DataFlags {
  readonly output?: string;
  readonly inPlace?: boolean;
  readonly force?: boolean;
  readonly revision?: string;
  readonly format: OutputFormatName;
  readonly dtype: Float8Name;
  readonly headroom: number;
  readonly samples: number;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly provider: ProviderChoice;
  readonly device?: readonly number[];
  readonly memory?: number;
  readonly assumeHarmless?: readonly string[];
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Gives the program its main command. */
export function addCalibrateCommand(program: Command, context: CommandContext): void {
  const { format, dtype, headroom, samples, sequenceLength, seed, provider } = CALIBRATION_DEFAULTS;
  const described = program
    .argument(
      "[model]",
      "checkpoint folder or hub id (org/name); without it, the embedded example is calibrated",
      parseText,
    )
    .option("-o, --output <folder>", "folder to write (default: <model>-FP8-KV)", parseText)
    .option("--in-place", "add the scales to the model's own folder")
    .option("--force", "replace an earlier result")
    .option("--revision <revision>", "branch, tag or commit of a hub id", parseText)
    .addOption(choice("--format <format>", "how scales are written", OUTPUT_FORMATS).default(format))
    .addOption(choice("--dtype <dtype>", "FP8 format of the cache", FLOAT8_FORMATS).default(dtype))
    .addOption(number("--headroom <factor>", "factor on every absmax", parseHeadroom, headroom));
  addDataOptions(
    described,
    "prompts: .txt (one a line), .jsonl, .json, .parquet, a folder of them, or a data set on the hub (default: shipped prompts)",
  )
    .addOption(number("--samples <count>", "prompts to use at most", parsePositiveInteger, samples))
    .addOption(number("--sequence-length <tokens>", "tokens of a prompt at most", parsePositiveInteger, sequenceLength))
    .addOption(number("--seed <seed>", "which prompts, when there are more", parseSeed, seed))
    .addOption(providerOption(provider))
    .option("--device <numbers>", "GPUs that share the work, such as 0,1 (default: 0)", parseDevices)
    .option("--memory <size>", "weights in memory at a time, or all on a GPU, such as 4GiB", parseBytes)
    .addOption(assumeHarmlessOption())
    .option("--json", "print the result as JSON")
    .option("-q, --quiet", "print the output folder alone; warnings on stderr")
    .action((model: string | undefined, flags: CalibrateFlags) => runCalibrate(model, flags, context));
}

function choice(flags: string, description: string, table: Readonly<Record<string, unknown>>): Option {
  return new Option(flags, description).choices(Object.keys(table));
}

function number(flags: string, description: string, parse: (text: string) => number, value: number): Option {
  return new Option(flags, description).argParser(parse).default(value);
}

async function runCalibrate(model: string | undefined, flags: CalibrateFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, signal } = context;
  if (flags.json && flags.quiet) throw new UsageError("Choose one of --json and --quiet");
  const { calibrate } = await import("../pipeline/calibrate.js");
  const { calibrationJson, calibrationReport } = await import("../report/calibration-report.js");
  const start = performance.now();
  const { device, json, quiet = false, ...options } = flags;
  const result = await withProgress(context, quiet, (onProgress) =>
    calibrate({ ...options, model: model ?? EMBEDDED_EXAMPLE, devices: device, signal, onProgress }),
  );
  const seconds = (performance.now() - start) / 1000;
  const elsewhere = `The result is in ${result.output}.`;
  if (json) stdout.write(calibrationJson(result, seconds), elsewhere);
  else if (quiet) {
    stdout.write(`${showLine(result.output, PATH_LIMIT)}\n`, elsewhere);
    stderr.write(warningLines(result.warnings));
  } else stdout.write(calibrationReport(result, screenOf(stdout), seconds), elsewhere);
}
