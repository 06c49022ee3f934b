// Decides which model is calibrated: the named one, the example, or, if none was named in a terminal, the example after
// a question.

import { UsageError } from "../errors.js";
import { EMBEDDED_EXAMPLE } from "../pipeline/run-options.js";
import { widthOf } from "../report/screen.js";
import { PATH_LIMIT, showLine } from "../report/shown-text.js";
import { wrapText } from "../report/wrapped-text.js";
import type { CommandContext } from "./command-context.js";

export interface ModelFlags {
  readonly example?: boolean;
  readonly output?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const WHAT_IT_IS =
  "create-kv-scales measures the FP8 KV-cache scales of an LLM checkpoint, and writes a checkpoint that vLLM, SGLang and TGI load.";
const WAYS_TO_BEGIN: readonly (readonly [command: string, what: string])[] = [
  ["npx create-kv-scales <model>", "a checkpoint folder, or a hub id such as org/name"],
  ["npx create-kv-scales --example", "the tiny model that comes with the program"],
  ["npx create-kv-scales --help", "all options and commands"],
];

/** The default output of the example. */
const EXAMPLE_OUTPUT = "tiny-llama-FP8-KV";

/**
 * @returns undefined if the answer is no
 * @throws UsageError when no model is named and nobody can be asked
 */
export async function chooseModel(
  model: string | undefined,
  { example = false, output = EXAMPLE_OUTPUT, json, quiet }: ModelFlags,
  { stderr, ask }: Pick<CommandContext, "stderr" | "ask">,
): Promise<string | undefined> {
  if (model !== undefined && example) throw new UsageError(`Choose one of --example and a model (${model})`);
  if (model !== undefined) return model;
  if (example) return EMBEDDED_EXAMPLE;
  if (ask === undefined || json || quiet) {
    throw new UsageError(
      "Expected a model: a checkpoint folder or a hub id (org/name). --example calibrates the tiny model that comes with the program; --help lists all options.",
    );
  }
  stderr.write(welcome(widthOf(stderr.stream)));
  const isWanted = await ask(`Write ${showLine(output, PATH_LIMIT)} now? [y/N] `);
  return isWanted ? EMBEDDED_EXAMPLE : undefined;
}

function welcome(width: number): string {
  const ways = WAYS_TO_BEGIN.map(([command, what]) => `  ${command}\n      ${wrapText(what, width, " ".repeat(6))}`);
  return `${wrapText(WHAT_IT_IS, width)}\n\n${ways.join("\n")}\n\n`;
}
