// The command line: the commander program, Ctrl-C, and the one place where errors become exit codes.

import { Command, CommanderError } from "commander";
import { addCalibrateCommand } from "./commands/calibrate.js";
import type { CommandContext } from "./commands/command-context.js";
import { addConvertCommand } from "./commands/convert.js";
import { addDiffCommand } from "./commands/diff.js";
import { addInspectCommand } from "./commands/inspect.js";
import { addProvidersCommand } from "./commands/providers.js";
import { addVerifyCommand } from "./commands/verify.js";
import { KvScalesError } from "./errors.js";
import { TOOL_VERSION } from "./pipeline/calibration-record.js";

const EXIT_BUG = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

const EXIT_CODES_HELP = `
Exit codes:
  0  done                           4  model not supported
  1  a bug: please report it        5  ONNX Runtime failed
  2  wrong usage or prompts         6  verification failed
  3  checkpoint unreadable          7  result not written
                                  130  interrupted`;

/** Runs the program and returns its exit code. Only this function touches the process. */
export async function main(argv: readonly string[]): Promise<number> {
  const interrupt = new AbortController();
  const onInterrupt = () => {
    // The first asks the work to stop and clean up; the second does not wait for it.
    if (interrupt.signal.aborted) process.exit(EXIT_INTERRUPTED);
    interrupt.abort();
  };
  const { stdout, stderr } = process;
  process.on("SIGINT", onInterrupt).on("SIGTERM", onInterrupt);
  for (const stream of [stdout, stderr]) surviveClosedPipe(stream);
  try {
    await createProgram({ stdout, stderr, signal: interrupt.signal }).parseAsync(argv, { from: "user" });
    return 0;
  } catch (error) {
    return reportError(error, stderr);
  } finally {
    process.off("SIGINT", onInterrupt).off("SIGTERM", onInterrupt);
  }
}

function createProgram(context: CommandContext): Command {
  const program = new Command("create-kv-scales")
    .description("Calibrates the FP8 KV-cache scales of an LLM checkpoint and writes one that serving engines load.")
    .version(TOOL_VERSION)
    .addHelpText("after", EXIT_CODES_HELP)
    .showHelpAfterError("(--help lists the options)")
    // Options after the name of a subcommand are its own, also those that calibration has too.
    .enablePositionalOptions()
    .exitOverride();
  addCalibrateCommand(program, context);
  addInspectCommand(program, context);
  addConvertCommand(program, context);
  addDiffCommand(program, context);
  addVerifyCommand(program, context);
  addProvidersCommand(program, context);
  return program;
}

/** A reader that has gone (`… | head`) is no reason to stop: the result is a folder. The error comes after `main`. */
function surviveClosedPipe(stream: NodeJS.WriteStream): void {
  if (!stream.listeners("error").includes(ignoreClosedPipe)) stream.on("error", ignoreClosedPipe);
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

function reportError(error: unknown, stderr: NodeJS.WriteStream): number {
  // commander has printed its message already; asking for help or the version is no error.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof KvScalesError) {
    stderr.write(`Error: ${onOneLine(error.message)}\n`);
    return error.exitCode;
  }
  stderr.write(`This is a bug in create-kv-scales, please report it with these lines:\n${describeBug(error)}\n`);
  return EXIT_BUG;
}

/** Messages quote files, and a damaged file can hold line ends and terminal escapes. */
function onOneLine(message: string): string {
  return message.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").trimEnd();
}

function describeBug(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
