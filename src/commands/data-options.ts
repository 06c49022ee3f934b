// The options that say which prompts of a data set are taken. Knows no data set.

import type { Command } from "commander";
import { parseText } from "./option-values.js";

export interface DataFlags {
  readonly data?: string;
  readonly dataSplit?: string;
  readonly dataColumn?: string;
  readonly dataConfig?: string;
  readonly dataRevision?: string;
}

/** @param what the prompts are, and which are taken without the option */
export function addDataOptions(command: Command, what: string): Command {
  return command
    .option("--data <path>", what, parseText)
    .option("--data-split <split>", "of a data set on the hub (default: train)", parseText)
    .option("--data-column <column>", "the one with text or messages (default: the first that is known)", parseText)
    .option("--data-config <name>", "configuration of a data set on the hub, where it has several", parseText)
    .option("--data-revision <revision>", "branch, tag or commit of a data set on the hub", parseText);
}
