// The command that starts an engine with a checkpoint, as words of a shell. Pure; chooses no engine.

import type { EngineCommand } from "../checkpoint/output-formats.js";
import { shellWord } from "./shell-word.js";

/** @param folder as it is: it is quoted here, and stays one word */
export function engineWords({ command }: Pick<EngineCommand, "command">, folder: string): string[] {
  return command.split(" ").map((word) => (word === "FOLDER" ? shellWord(folder) : word));
}
