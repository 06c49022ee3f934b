// The main command: options in, calibration called, report out. Touches no file itself.

import { type Command, Option } from "commander";
import { OUTPUT_FORMATS, type OutputFormatName } from "../checkpoint/output-formats.js";
import { UsageError } from "../errors.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { ProviderChoice } from "../pipeline/choose-provider.js";
import { CALIBRATION_DEFAULTS } from "../pipeline/run-options.js";
import { screenOf } from "../report/screen.js";
import { PATH_LIMIT, showLine } from "../report/shown-text.js";
import { warningLines } from "../report/warning-lines.js";
import { assumeHarmlessOption } from "./assume-harmless-option.js";
import { choiceOption } from "./choice-option.js";
import type { CommandContext } from "./command-context.js";
import { addDataOptions, type DataFlags } from "./data-options.js";
import { chooseModel } from "./model-argument.js";
import {
  parseBytes,
  parseDevices,
  parseExceedance,
  parseHeadroom,
  parsePositiveInteger,
  parseSamples,
  parseSeed,
  parseText,
} from "./option-values.js";
import { providerOption } from "./provider-option.js";
import { withProgress } from "./with-progress.js";

interface CalibrateFlags extends DataFlags {
  readonly example?: boolean;
  readonly onto?: string;
  readonly output?: string;
  readonly inPlace?: boolean;
  readonly force?: boolean;
  readonly revision?: string;
  readonly format: OutputFormatName;
  readonly dtype: Float8Name;
  readonly headroom: number | "auto";
  readonly servingTokens: number;
  readonly exceedance: number;
  readonly samples: number | "auto";
  readonly sequenceLength: number;
  readonly seed: number;
  readonly provider: ProviderChoice;
  readonly device?: readonly number[];
  readonly memory?: number;
  readonly assumeHarmless?: readonly string[];
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Gives the program its main command. */
export function addCalibrateCommand(program: Command, context: CommandContext): void {
  const { format, dtype, headroom, servingTokens, exceedance, samples, sequenceLength, seed, provider } =
    CALIBRATION_DEFAULTS;
  const described = program
    .argument("[model]", "checkpoint folder, hub id (org/name) or its page on huggingface.co", parseText)
    .option("--example", "calibrate the tiny model that comes with the program")
    .option("--onto <checkpoint>", "write the scales onto this quantized form of the model", parseText)
    .option("-o, --output <folder>", "folder to write (default: <model>-FP8-KV)", parseText)
    .option("--in-place", "add the scales to the model's own folder")
    .option("--force", "replace an earlier result")
    .option("--revision <revision>", "branch, tag or commit of a hub id", parseText)
    .addOption(choiceOption("--format <format>", "how scales are written", Object.keys(OUTPUT_FORMATS)).default(format))
    .addOption(choiceOption("--dtype <dtype>", "FP8 format of the cache", Object.keys(FLOAT8_FORMATS)).default(dtype))
    .addOption(
      number("--headroom <factor>", "factor on every absmax, or auto: as serving needs", parseHeadroom, headroom),
    )
    .addOption(
      number("--serving-tokens <count>", "tokens that levels, and auto, are for", parsePositiveInteger, servingTokens),
    )
    .addOption(number("--exceedance <share>", "probability that serving exceeds a level", parseExceedance, exceedance));
  addDataOptions(
    described,
    "prompts: .txt (one a line), .jsonl, .json, .parquet, a folder of them, or a data set on the hub (default: shipped prompts)",
  )
    .addOption(
      number("--samples <count>", "prompts to use at most, or auto: until they are enough", parseSamples, samples),
    )
    .addOption(number("--sequence-length <tokens>", "tokens of a prompt at most", parsePositiveInteger, sequenceLength))
    .addOption(number("--seed <seed>", "which prompts, when there are more", parseSeed, seed))
    .addOption(providerOption(provider))
    .option("--device <numbers>", "GPUs that share the work, such as 0,1 (default: 0)", parseDevices)
    .option("--memory <size>", "weights in memory at a time, or all on a GPU, such as 4GiB", parseBytes)
    .addOption(assumeHarmlessOption())
    .option("--dry-run", "say what would be read, computed and written, and how long it would take; write nothing")
    .option("--json", "print the result as JSON")
    .option("-q, --quiet", "print only the output folder; warnings on stderr")
    .action((model: string | undefined, flags: CalibrateFlags) => runCalibrate(model, flags, context));
}

function number(flags: string, description: string, parse: (text: string) => number | "auto", value: number): Option {
  return new Option(flags, description).argParser(parse).default(value);
}

async function runCalibrate(model: string | undefined, flags: CalibrateFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, signal } = context;
  if (flags.dryRun && flags.quiet) throw new UsageError("Choose one of --dry-run and --quiet");
  if (flags.json && flags.quiet) throw new UsageError("Choose one of --json and --quiet");
  const chosen = await chooseModel(model, flags, context);
  if (chosen === undefined) return;
  if (flags.dryRun) return await runDry(chosen, flags, context);
  const { calibrate } = await import("../pipeline/calibrate.js");
  const { calibrationJson, calibrationReport } = await import("../report/calibration-report.js");
  const start = performance.now();
  const { device, json, quiet = false, example: _example, dryRun: _dryRun, ...options } = flags;
  const result = await withProgress(context, quiet, (onProgress) =>
    calibrate({ ...options, model: chosen, devices: device, signal, onProgress }),
  );
  const seconds = (performance.now() - start) / 1000;
  const elsewhere = `The result is in ${result.output}.`;
  if (json) stdout.write(calibrationJson(result, seconds), elsewhere);
  else if (quiet) {
    stdout.write(`${showLine(result.output, PATH_LIMIT)}\n`, elsewhere);
    stderr.write(warningLines(result.warnings));
  } else stdout.write(calibrationReport(result, screenOf(stdout), seconds), elsewhere);
}

async function runDry(model: string, flags: CalibrateFlags, context: CommandContext): Promise<void> {
  const { stdout, signal } = context;
  const { planCalibration } = await import("../pipeline/calibrate.js");
  const { dryRunJson, dryRunReport } = await import("../report/dry-run-report.js");
  const { device: devices, json, quiet: _quiet, example: _example, dryRun: _dryRun, ...options } = flags;
  const run = await withProgress(context, false, (onProgress) =>
    planCalibration({ ...options, model, devices, signal, onProgress }),
  );
  stdout.write(json ? dryRunJson(run) : dryRunReport(run, screenOf(stdout)));
}
