// The command line: the commander program, and the one place where errors become exit codes.

import { access } from "node:fs/promises";
import { Command, CommanderError, Help } from "commander";
import { closestName, didYouMean } from "./closest-name.js";
import { addArchitecturesCommand } from "./commands/architectures.js";
import { askYesNo } from "./commands/ask.js";
import { addCalibrateCommand } from "./commands/calibrate.js";
import type { CommandContext } from "./commands/command-context.js";
import { addConvertCommand } from "./commands/convert.js";
import { addDiffCommand } from "./commands/diff.js";
import { addInspectCommand } from "./commands/inspect.js";
import { addProvidersCommand } from "./commands/providers.js";
import { addVerifyCommand } from "./commands/verify.js";
import {
  CheckpointError,
  isFolderGone,
  isOutOfFileHandles,
  KvScalesError,
  messageOf,
  throwIfAborted,
  UsageError,
} from "./errors.js";
import { EXIT_INTERRUPTED, type Interrupts, listenForInterrupts } from "./interrupts.js";
import { TOOL_VERSION } from "./pipeline/tool-version.js";
import { failureJson } from "./report/result-json.js";
import { widthOf } from "./report/screen.js";
import { showLine } from "./report/shown-text.js";
import { TextOutput } from "./report/text-output.js";
import { CONTINUED, wrapText } from "./report/wrapped-text.js";

const EXIT_BUG = 1;
const EXIT_USAGE = 2;

/** Characters of an error's message. It may name several paths. */
const MESSAGE_LIMIT = 4000;

const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, "done"],
  [1, "a bug: please report it"],
  [2, "wrong usage or prompts"],
  [3, "checkpoint unreadable"],
  [4, "model not supported"],
  [5, "ONNX Runtime failed"],
  [6, "a limit was exceeded"],
  [7, "result not written"],
  [130, "interrupted"],
];

type Host = Pick<NodeJS.Process, "stdout" | "stderr"> & {
  /** Undefined without a terminal to ask. */
  readonly stdin?: NodeJS.Process["stdin"];
  readonly interrupts?: Interrupts;
};

/**
 * Runs the program and returns its exit code: that of the first thing that went wrong. Only this function touches the
 * process.
 * @param host standard output and standard error; and the interrupts of a program that has listened since it began to
 * load, and goes on until it ends
 */
export async function main(argv: readonly string[], host: Host = process): Promise<number> {
  const interrupts = host.interrupts ?? listenForInterrupts();
  const { signal } = interrupts;
  const stdout = new TextOutput(host.stdout);
  const stderr = new TextOutput(host.stderr);
  // A slow reader is not waited for.
  const endPrinting = () => process.exit(EXIT_INTERRUPTED);
  try {
    const errors = await errorsOf(async () => {
      throwIfAborted(signal);
      const program = createProgram({ stdout, stderr, signal, ask: questionsTo(host, signal) });
      await requireKnownCommand(argv, program);
      await program.parseAsync(withOldVersionOption(argv), { from: "user" });
    });
    signal.addEventListener("abort", endPrinting);
    const failure = errors.map(failureOf).find(({ exitCode }) => exitCode !== 0);
    // A result that is there is never followed by a second document.
    if (failure !== undefined && asksForJson(argv) && stdout.isUnwritten) stdout.write(failureJson(failure));
    errors.push(...(await errorsOf(() => stdout.flushed())));
    return errors.map((error) => reportError(error, stderr)).find((code) => code !== 0) ?? 0;
  } finally {
    signal.removeEventListener("abort", endPrinting);
    if (host.interrupts === undefined) interrupts.release();
  }
}

/** What work throws; several things that went wrong, each by itself. */
async function errorsOf(work: () => Promise<unknown>): Promise<unknown[]> {
  try {
    await work();
    return [];
  } catch (error) {
    const several: readonly unknown[] = error instanceof AggregateError ? error.errors : [];
    return several.length > 0 && several.every((one) => one instanceof KvScalesError) ? [...several] : [error];
  }
}

/** The commander program. Parsing its arguments runs the command that they name; it throws CommanderError and ours. */
export function createProgram(context: CommandContext): Command {
  const program = new Command("create-kv-scales")
    .description("Calibrates the FP8 KV-cache scales of an LLM checkpoint and writes one that serving engines load.")
    .usage("[options] <model>")
    .version(TOOL_VERSION, "-v, --version", "print the version")
    .helpOption("-h, --help", "print the help of the program or of a command")
    .helpCommand("help [command]", "print the help of the program or of a command")
    .addHelpText("after", exitCodesHelp)
    .showHelpAfterError("(--help lists the options)")
    // Options after the name of a subcommand are its own, also those that calibration has too.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      outputError: (text, write) => write(showUsageError(text, context.stderr)),
      getOutHelpWidth: () => widthOf(context.stdout.stream),
      getErrHelpWidth: () => widthOf(context.stderr.stream),
    })
    .configureHelp({
      formatItem,
      commandUsage: (command) => {
        const width = widthOf(context.stdout.stream) - "Usage: ".length;
        return wrapText(new Help().commandUsage(command), width, HELP_INDENT);
      },
    });
  addCalibrateCommand(program, context);
  addInspectCommand(program, context);
  addConvertCommand(program, context);
  addDiffCommand(program, context);
  addVerifyCommand(program, context);
  addProvidersCommand(program, context);
  addArchitecturesCommand(program, context);
  return program;
}

function exitCodesHelp(): string {
  return `\nExit codes:\n${EXIT_CODES.map(([code, meaning]) => `${String(code).padStart(5)}  ${meaning}`).join("\n")}`;
}

/** What an entry of the help needs beside its name; with less, it stands below. */
const LEAST_DESCRIPTION_WIDTH = 36;
const HELP_INDENT = "  ";

/** An entry of the help: its name, and what it is, beside or below it, on any screen. */
function formatItem(term: string, termWidth: number, description: string, { helpWidth = 80 }: Help): string {
  const column = HELP_INDENT.length + termWidth + HELP_INDENT.length;
  if (description === "") return `${HELP_INDENT}${term}`;
  if (helpWidth - column >= LEAST_DESCRIPTION_WIDTH) {
    const text = wrapText(description, helpWidth, " ".repeat(column));
    return `${HELP_INDENT}${term.padEnd(termWidth)}${HELP_INDENT}${text}`;
  }
  const below = HELP_INDENT.repeat(3);
  return `${HELP_INDENT}${term}\n${below}${wrapText(description, helpWidth, below)}`;
}

/** Who can be asked: whoever sits at a terminal. */
function questionsTo({ stdin, stderr }: Host, signal: AbortSignal): CommandContext["ask"] {
  if (stdin === undefined || !stdin.isTTY || !stderr.isTTY) return undefined;
  return (question) => askYesNo(question, { stdin, stderr }, signal);
}

/**
 * A command's name that was mistyped would be taken for a model. What could be one is left alone: a path, a hub id, a
 * folder that is there.
 * @throws UsageError that names the command which is near
 */
async function requireKnownCommand([first = "", second = ""]: readonly string[], program: Command): Promise<void> {
  const isHelp = first === "help";
  const typed = isHelp ? second : first;
  const names = [...program.commands.map((command) => command.name()), "help"];
  if (typed === "" || typed.startsWith("-") || names.includes(typed)) return;
  const meant = closestName(typed, names);
  if (isHelp)
    throw new UsageError(`There is no command ${typed}.${didYouMean(typed, names)} --help lists all commands.`);
  if (meant === undefined || /[\\/.:]/.test(typed) || (await isThere(typed))) return;
  throw new UsageError(`${typed}: is no command, and no such folder is there. Did you mean ${meant}?`);
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** The program prints its version for -V, too, as it did first. */
function withOldVersionOption([first, ...others]: readonly string[]): string[] {
  return first === undefined ? [] : [first === "-V" ? "-v" : first, ...others];
}

/** commander's messages quote what was typed. Only its own second line stays one: which option may have been meant. */
function showUsageError(text: string, stderr: TextOutput): string {
  const [, message = "", suggestion = ""] = /^(.*?)(\n\(Did you mean [^\n]*\?\))?\n$/s.exec(text) ?? [text, text];
  return `${fitTo(stderr, showLine(message, MESSAGE_LIMIT))}${suggestion}\n`;
}

/** Whether `--json` is among the options. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end === -1 ? argv.length : end).includes("--json");
}

interface Failure {
  /** One of our own, unless it is a bug. */
  readonly error: unknown;
  readonly exitCode: number;
}

function failureOf(error: unknown): Failure {
  if (error instanceof KvScalesError) return { error, exitCode: error.exitCode };
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, "").replaceAll("\n", " ");
    return { error: new UsageError(message, { cause: error }), exitCode: error.exitCode === 0 ? 0 : EXIT_USAGE };
  }
  if (isFolderGone(error)) {
    const message = `Here ${messageOf(error)}. Change to another folder, or give whole paths.`;
    return failureOf(new UsageError(message, { cause: error }));
  }
  if (isOutOfFileHandles(error)) return failureOf(new CheckpointError(messageOf(error), { cause: error }));
  return { error, exitCode: EXIT_BUG };
}

function reportError(thrown: unknown, stderr: TextOutput): number {
  const { error, exitCode } = failureOf(thrown);
  // commander has printed its message already; asking for help or the version is no error.
  if (thrown instanceof CommanderError) return exitCode;
  // Messages quote files, names and servers.
  if (error instanceof KvScalesError) {
    const message = `Error: ${showLine(error.message.trimEnd(), MESSAGE_LIMIT)}`;
    stderr.write(`${fitTo(stderr, message)}\n`);
  } else {
    stderr.write(`This is a bug in create-kv-scales, please report it with these lines:\n${describeBug(error)}\n`);
  }
  return exitCode;
}

/** In a log, a message is one line; a terminal would break it inside words and numbers. */
function fitTo(stderr: TextOutput, message: string): string {
  return stderr.isTTY ? wrapText(message, widthOf(stderr.stream), CONTINUED) : message;
}

/** The message on one line, then where it came from. */
function describeBug(error: unknown): string {
  if (!(error instanceof Error)) return showLine(String(error), MESSAGE_LIMIT);
  const frames = (error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line));
  const message = showLine(`${error.name}: ${error.message}`, MESSAGE_LIMIT);
  return [message, ...frames.map((frame) => `    ${showLine(frame.trimStart())}`)].join("\n");
}
