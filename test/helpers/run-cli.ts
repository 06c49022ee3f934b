// Runs the built program as a user does (its own process), or its `main` in this process where hundreds of runs are
// needed. Knows no checkpoint.

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import { requireDescribedJson } from "./json-schemas.js";

export const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
export const PROGRAM = join(REPOSITORY, "bin/create-kv-scales.js");

export interface CliResult {
  /** Null when a signal ended the process. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the program in a process of its own, without a terminal. */
export function startCli(
  args: readonly string[],
  options: CliOptions = {},
): { child: ChildProcess; done: Promise<CliResult> } {
  const { child, done } = startProgram(process.execPath, [PROGRAM, ...args], options);
  return { child, done: done.then((result) => checked(args, result)) };
}

/** Every --json of every test is held against its schema. What is broken off is for its own test to judge. */
function checked(args: readonly string[], result: CliResult): CliResult {
  if (result.signal === null) requireDescribedJson(args, result.stdout);
  return result;
}

/** Runs the program to its end. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).done;
}

/** Starts any program with its output collected, and without the test runner's wishes about colors. */
export function startProgram(
  command: string,
  args: readonly string[],
  { cwd, env }: CliOptions = {},
): { child: ChildProcess; done: Promise<CliResult> } {
  const { FORCE_COLOR: _force, NO_COLOR: _no, NODE_OPTIONS: _options, ...inherited } = process.env;
  const child = spawn(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const done = new Promise<CliResult>((resolve, reject) => {
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    child.on("error", reject);
    child.on("close", (exitCode, signal) => {
      resolve({ exitCode, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
    });
  });
  return { child, done };
}

/** Standard error of a run without a terminal, without the times before its lines. */
export function withoutTimes(stderr: string): string {
  return stderr.replaceAll(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /gm, "");
}

type Main = (
  argv: readonly string[],
  streams: { stdin?: Readable; stdout: Writable; stderr: Writable },
) => Promise<number>;

/** Calls the built `main` in this process: 20 times faster than a process. */
export async function runMain(args: readonly string[]): Promise<CliResult> {
  const { main } = (await import(pathToFileURL(join(REPOSITORY, "dist/cli.js")).href)) as { main: Main };
  const [stdout, stderr] = [recorder(), recorder()];
  const exitCode = await main(args, { stdout: stdout.stream, stderr: stderr.stream });
  return checked(args, { exitCode, signal: null, stdout: stdout.text(), stderr: stderr.text() });
}

/** The same for a person at a terminal, who types `typed`. */
export async function runMainInTerminal(args: readonly string[], typed: string, columns = 80): Promise<CliResult> {
  const { main } = (await import(pathToFileURL(join(REPOSITORY, "dist/cli.js")).href)) as { main: Main };
  const [stdout, stderr] = [recorder(), recorder()];
  const terminal = { isTTY: true, columns, clearLine: () => true, cursorTo: () => true, moveCursor: () => true };
  const stdin = Object.assign(Readable.from([typed]), { isTTY: true, setRawMode: () => {} });
  const exitCode = await main(args, {
    stdin,
    stdout: Object.assign(stdout.stream, terminal),
    stderr: Object.assign(stderr.stream, terminal),
  });
  return { exitCode, signal: null, stdout: stdout.text(), stderr: stderr.text() };
}

function recorder(): { stream: Writable; text(): string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}
