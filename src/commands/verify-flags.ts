// The options of `verify` on the command line: their names, what they mean, how their values are read. Runs nothing.

import { type Command, InvalidArgumentError, Option } from "commander";
import { didYouMean } from "../closest-name.js";
import { ARMS } from "../pipeline/arms.js";
import type { ProviderChoice } from "../pipeline/choose-provider.js";
import { BASELINES, GENERATION_DEFAULTS, RETRIEVAL_DEFAULTS, VERIFICATION_DEFAULTS } from "../pipeline/run-options.js";
import type { ArmName } from "../pipeline/verify-result.js";
import { assumeHarmlessOption } from "./assume-harmless-option.js";
import { choiceOption } from "./choice-option.js";
import { addDataOptions, type DataFlags } from "./data-options.js";
import {
  parseBytes,
  parseDevices,
  parseIncrease,
  parseNats,
  parsePositiveInteger,
  parseSeed,
  parseShare,
  parseText,
  parseWindow,
} from "./option-values.js";
import { providerOption } from "./provider-option.js";

export interface VerifyFlags extends DataFlags {
  readonly revision?: string;
  readonly arms?: readonly ArmName[];
  readonly baseline?: ArmName;
  readonly perLayer?: boolean;
  readonly samples: number;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly provider: ProviderChoice;
  readonly device?: readonly number[];
  readonly memory?: number;
  readonly assumeHarmless?: readonly string[];
  readonly maxPerplexityIncrease: number;
  readonly maxKl: number;
  readonly minAgreement: number;
  readonly minRetrieval: number;
  readonly allowInconclusive?: boolean;
  readonly retrieval?: boolean;
  readonly retrievalTokens?: number;
  readonly retrievalValues?: number;
  readonly generate?: boolean;
  readonly generateData?: string;
  readonly maxNewTokens?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly html?: string;
  readonly markdown?: string;
  readonly junit?: string;
  readonly quiet?: boolean;
}

/** Gives a command the description, the argument and the options of `verify`. */
export function addVerifyFlags(command: Command): void {
  const defaults = VERIFICATION_DEFAULTS;
  const number = (flags: string, description: string, parse: (text: string) => number, value: number) =>
    new Option(flags, description).argParser(parse).default(value);
  const described = command
    .description("run inference with the FP8 cache: what does it cost?")
    .argument("[model]", "checkpoint folder or hub id; without it, the embedded example is verified", parseText)
    .option("--revision <revision>", "branch, tag or commit of a hub id", parseText)
    .addOption(new Option("--arms <names>", `caches to compare: ${Object.keys(ARMS).join(", ")}`).argParser(parseArms))
    .addOption(choiceOption("--baseline <arm>", "what the others are compared with", BASELINES))
    .option("--per-layer", "also try FP8 in each layer alone");
  addDataOptions(
    described,
    "text: .txt, .jsonl, .json, .parquet, a folder of them, or a data set on the hub (default: shipped held-out text)",
  )
    .addOption(number("--samples <count>", "texts to use at most", parsePositiveInteger, defaults.samples))
    .addOption(number("--sequence-length <tokens>", "tokens of a window", parseWindow, defaults.sequenceLength))
    .addOption(number("--seed <seed>", "which texts, when there are more", parseSeed, defaults.seed))
    .addOption(providerOption(defaults.provider))
    .option("--device <numbers>", "GPUs that share the work, such as 0,1 (default: 0)", parseDevices)
    .option("--memory <size>", "weights in memory at a time, or all on a GPU, such as 4GiB", parseBytes)
    .addOption(
      number(
        "--max-perplexity-increase <share>",
        "threshold, such as 1%",
        parseIncrease,
        defaults.maxPerplexityIncrease,
      ),
    )
    .addOption(number("--max-kl <nats>", "threshold on the mean KL divergence per token", parseNats, defaults.maxKl))
    .addOption(
      number(
        "--min-agreement <share>",
        "threshold on the share of equal top tokens",
        parseShare,
        defaults.minAgreement,
      ),
    )
    .addOption(
      number(
        "--min-retrieval <share>",
        "threshold on the share of values that are still found, with --retrieval",
        parseShare,
        defaults.minRetrieval,
      ),
    )
    .option("--allow-inconclusive", "exit with 0, not 8, where there is too little text to decide")
    .option("--retrieval", "also ask long texts for what they said")
    .addOption(
      new Option(
        "--retrieval-tokens <count>",
        `tokens of such a text at most (default: ${RETRIEVAL_DEFAULTS.tokens}, or what the model and memory hold)`,
      ).argParser(parsePositiveInteger),
    )
    .addOption(
      new Option(
        "--retrieval-values <count>",
        `values that they ask for, 8 or more (default: ${RETRIEVAL_DEFAULTS.values})`,
      ).argParser(parsePositiveInteger),
    )
    .option("--generate", "also answer prompts token by token through stored caches; keeps the whole model in memory")
    .option("--generate-data <path>", "prompts for --generate: .txt, .jsonl, or a folder of them", parseText)
    .addOption(
      new Option(
        "--max-new-tokens <count>",
        `tokens of an answer at most (default: ${GENERATION_DEFAULTS.maxNewTokens})`,
      ).argParser(parsePositiveInteger),
    )
    .addOption(assumeHarmlessOption())
    .option("--dry-run", "say what would be read and computed, and how long it would take; write nothing")
    .option("--json", "print the result as JSON")
    .option("--html <file>", "also write the report as one HTML file, with plots (-: print it)", parseText)
    .option("--markdown <file>", "also write the report as Markdown (-: print it)", parseText)
    .option("--junit <file>", "also write the verdict as JUnit XML (-: print it)", parseText)
    .option("-q, --quiet", "print only the verdict; warnings on stderr");
}

function parseArms(text: string): ArmName[] {
  const known = Object.keys(ARMS);
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !Object.hasOwn(ARMS, name));
  if (unknown === undefined) return names as ArmName[];
  const expected = `Expected names among ${known.join(", ")}, separated by commas.`;
  throw new InvalidArgumentError(`${expected}${didYouMean(unknown, known)}`);
}
