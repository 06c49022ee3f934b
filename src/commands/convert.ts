// The command `convert`: options in, conversion called, report out. Touches no file itself.

import type { Command } from "commander";
import { OUTPUT_FORMATS, type OutputFormatName } from "../checkpoint/output-formats.js";
import { UsageError } from "../errors.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import { screenOf } from "../report/screen.js";
import { PATH_LIMIT, showLine } from "../report/shown-text.js";
import { warningLines } from "../report/warning-lines.js";
import { choiceOption } from "./choice-option.js";
import type { CommandContext } from "./command-context.js";
import { parseText } from "./option-values.js";
import { withProgress } from "./with-progress.js";

interface ConvertFlags {
  readonly format: OutputFormatName;
  readonly dtype?: Float8Name;
  readonly onto?: string;
  readonly output?: string;
  readonly inPlace?: boolean;
  readonly force?: boolean;
  readonly revision?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addConvertCommand(program: Command, context: CommandContext): void {
  program
    .command("convert")
    .description("write a checkpoint's scales in another format or FP8 dtype, without calibrating again")
    .argument("<checkpoint>", "checkpoint folder with scales, or hub id (org/name)", parseText)
    .addOption(
      choiceOption("--format <format>", "how scales are written", Object.keys(OUTPUT_FORMATS)).makeOptionMandatory(),
    )
    .addOption(
      choiceOption("--dtype <dtype>", "FP8 format of the cache (default: as it is)", Object.keys(FLOAT8_FORMATS)),
    )
    .option("--onto <checkpoint>", "write the scales onto this quantized form of the model", parseText)
    .option("-o, --output <folder>", "folder to write (default: <checkpoint>-<format>)", parseText)
    .option("--in-place", "replace the scales in the checkpoint's own folder (needs --force)")
    .option("--force", "replace an earlier result")
    .option("--revision <revision>", "branch, tag or commit of a hub id", parseText)
    .option("--json", "print the result as JSON")
    .option("-q, --quiet", "print only the output folder; warnings on stderr")
    .action((model: string, flags: ConvertFlags) => runConvert(model, flags, context));
}

async function runConvert(model: string, flags: ConvertFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, signal } = context;
  const { json, quiet = false, ...options } = flags;
  if (json && quiet) throw new UsageError("Choose one of --json and --quiet");
  const { convert } = await import("../pipeline/convert.js");
  const { conversionJson, conversionReport } = await import("../report/convert-report.js");
  const conversion = await withProgress(context, quiet, (onProgress) =>
    convert({ ...options, model, signal, onProgress }),
  );
  const elsewhere = `The result is in ${conversion.output}.`;
  if (json) stdout.write(conversionJson(conversion), elsewhere);
  else if (quiet) {
    stdout.write(`${showLine(conversion.output, PATH_LIMIT)}\n`, elsewhere);
    stderr.write(warningLines(conversion.warnings));
  } else stdout.write(conversionReport(conversion, screenOf(stdout)), elsewhere);
}
