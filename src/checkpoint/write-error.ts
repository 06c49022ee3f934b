// Turns a system error while writing into one that says what to do. Knows no file.

import { codeOf, KvScalesError, messageOf, OutputWriteError } from "../errors.js";

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: "The disk is full: make room, or choose another place with -o.",
  EDQUOT: "The quota is used up: make room, or choose another place with -o.",
  ENAMETOOLONG: "Choose a shorter name with -o.",
  ENOTDIR: "A file is where a folder should be. Choose another place with -o.",
};

/** @param aftermath the state of the old files, for the end of the message */
export function asWriteError(error: unknown, target: string, aftermath: string): Error {
  if (error instanceof KvScalesError) return error;
  const advice = ADVICE[codeOf(error) ?? ""] ?? "Choose another place with -o.";
  return new OutputWriteError(`${target}: could not be written: ${messageOf(error)}. ${advice} ${aftermath}`, {
    cause: error,
  });
}
