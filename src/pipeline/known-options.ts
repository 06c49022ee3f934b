// The options of each function of the library, so that a mistyped one is an error and not silently the default. The
// compiler finds missing ones, a test superfluous ones.

import { didYouMean } from "../closest-name.js";
import { UsageError } from "../errors.js";
import type { Thresholds } from "../metrics/verdict.js";
import type { CalibrateOptions } from "./calibrate-settings.js";
import type { ConvertOptions } from "./convert.js";
import type { DiffOptions } from "./diff.js";
import type { GenerationOptions } from "./generation.js";
import type { InspectOptions } from "./inspect.js";
import { requireOptions } from "./option-checks.js";
import type { RetrievalOptions } from "./retrieval.js";
import type { ComputeOptions, DataOptions, ModelOptions } from "./run-options.js";
import type { VerifyOptions } from "./verify-settings.js";

/** Every option, with the options in it where it is an object of them. */
type OptionNames<Options> = { readonly [Name in keyof Options]-?: true | Readonly<Record<string, true>> };

const MODEL: OptionNames<ModelOptions> = { model: true, revision: true, signal: true };
const COMPUTE: OptionNames<ComputeOptions> = { assumeHarmless: true, provider: true, devices: true, memory: true };
const RESULT = { onto: true, format: true, dtype: true, output: true, inPlace: true, force: true } as const;
const DATA: OptionNames<DataOptions> = {
  ...{ data: true, dataRevision: true, dataConfig: true, dataSplit: true, dataColumn: true },
};
const TEXTS = { ...DATA, samples: true, sequenceLength: true, seed: true } as const;
const THRESHOLDS: Record<keyof Thresholds, true> = {
  ...{ maxPerplexityIncrease: true, maxKl: true, minAgreement: true, minRetrieval: true },
};
const RETRIEVAL: Record<keyof RetrievalOptions, true> = { tokens: true, values: true };
const GENERATION: Record<keyof GenerationOptions, true> = { data: true, maxNewTokens: true };

export interface OptionsOfFunctions {
  readonly calibrate: OptionNames<CalibrateOptions>;
  readonly convert: OptionNames<ConvertOptions>;
  readonly diff: OptionNames<DiffOptions>;
  readonly inspect: OptionNames<InspectOptions>;
  readonly verify: OptionNames<VerifyOptions>;
}

export const OPTIONS: OptionsOfFunctions = {
  calibrate: {
    ...{ ...MODEL, ...COMPUTE, ...RESULT, ...TEXTS },
    ...{ headroom: true, servingTokens: true, exceedance: true, onProgress: true },
  },
  convert: { ...MODEL, ...RESULT, onProgress: true },
  diff: { a: true, b: true, revision: true, engine: true, maxRatio: true, signal: true, onProgress: true },
  inspect: { ...MODEL, onProgress: true },
  verify: {
    ...{ ...MODEL, ...COMPUTE, ...TEXTS },
    ...{ arms: true, baseline: true, perLayer: true, thresholds: THRESHOLDS, generate: GENERATION },
    retrieval: RETRIEVAL,
    ...{ onFolder: true, onProgress: true },
  },
};

/**
 * For callers without types. @param name of the function
 * @throws UsageError when the options are no object, or one of them is not known, also inside another
 */
export function requireKnownOptions(name: keyof OptionsOfFunctions, options: object): void {
  requireOptions(options);
  requireNames(name, options, OPTIONS[name]);
}

function requireNames(where: string, options: object, names: Readonly<Record<string, unknown>>): void {
  for (const [option, value] of Object.entries(options)) {
    if (!Object.hasOwn(names, option)) {
      const known = Object.keys(names);
      const hint = didYouMean(option, known) || ` There are ${known.join(", ")}.`;
      throw new UsageError(`${where}: there is no option ${JSON.stringify(option)}.${hint}`);
    }
    const inner = names[option];
    if (typeof inner !== "object" || inner === null || value === undefined) continue;
    if (typeof value !== "object" || value === null) {
      throw new UsageError(
        `${option}: expected an object with ${Object.keys(inner).join(", ")}, found ${typeof value}`,
      );
    }
    requireNames(`${where}: ${option}`, value, { ...inner });
  }
}
