// Every error that is not a bug: one class per thing the reader can do about it, each with its exit code.
// A message says what was expected, what was found, where, and what to do. Knows nothing of any other module.

/** Base of all expected errors. The command line prints only the message and exits with `exitCode`. */
export abstract class KvScalesError extends Error {
  abstract readonly exitCode: number;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The command or an option is wrong: change what you typed. */
export class UsageError extends KvScalesError {
  readonly exitCode = 2;
}

/** The calibration prompts cannot be read: repair or replace the data file. */
export class PromptDataError extends KvScalesError {
  readonly exitCode = 2;
}

/** The output already exists: choose another place or pass --force. */
export class OutputExistsError extends KvScalesError {
  readonly exitCode = 2;
}

/** A file of the checkpoint is missing, damaged or contradicts another: download it again or repair it. */
export class CheckpointError extends KvScalesError {
  readonly exitCode = 3;
}

/** The hub did not deliver the checkpoint: check its name, your token or the network. */
export class HubError extends KvScalesError {
  readonly exitCode = 3;
}

/** The checkpoint is sound but has something this program does not know: choose another model, or ask for support. */
export class UnsupportedModelError extends KvScalesError {
  readonly exitCode = 4;
}

/** ONNX Runtime could not open or run a session: choose another provider, or free memory. */
export class ProviderError extends KvScalesError {
  readonly exitCode = 5;
}

/** The FP8 cache costs more than the thresholds allow: calibrate again, or do not use it. */
export class VerificationError extends KvScalesError {
  readonly exitCode = 6;
}

/** The text is too short to say what the FP8 cache costs: give more. */
export class InconclusiveError extends KvScalesError {
  readonly exitCode = 8;
}

/** Two checkpoints differ more than was allowed: look at which is right, or allow more. */
export class DifferenceError extends KvScalesError {
  readonly exitCode = 6;
}

/** The result could not be written (disk full, no permission): make room, or choose another place. */
export class OutputWriteError extends KvScalesError {
  readonly exitCode = 7;
}

/** Stopped by Ctrl-C or an AbortSignal. */
export class InterruptedError extends KvScalesError {
  readonly exitCode = 130;

  constructor(message = "Interrupted: nothing was written.") {
    super(message);
  }
}

/** Throws InterruptedError when the signal has been raised. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new InterruptedError();
}

/** The message of anything that was thrown, for use inside another message. */
export function messageOf(error: unknown): string {
  if (isFolderGone(error)) return "the current folder has been deleted, so relative paths lead nowhere";
  if (isOutOfFileHandles(error)) return "this process may not open more files. Allow more: ulimit -n 1024";
  return error instanceof Error ? error.message : String(error);
}

/** Whether the current folder has been deleted, so that relative paths cannot be resolved. */
export function isFolderGone(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && error.syscall === "uv_cwd";
}

/** Whether too many files are open, in this process or in the system. */
export function isOutOfFileHandles(error: unknown): boolean {
  return ["EMFILE", "ENFILE"].includes(codeOf(error) ?? "");
}

/** The system's code of an error, such as ENOENT. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}
