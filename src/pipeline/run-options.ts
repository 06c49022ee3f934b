// Options of several functions: the model, the provider and the memory; and the defaults of all options. Loads none of
// those functions, so that --help is fast.

import { fileURLToPath } from "node:url";
import { VERIFY_DEFAULTS } from "../metrics/verdict.js";
import type { ProviderChoice } from "./choose-provider.js";
import type { ArmName } from "./verify-result.js";

/** The tiny trained Llama that ships with the package. */
export const EMBEDDED_EXAMPLE = fileURLToPath(new URL("../../examples/tiny-llama", import.meta.url));

export const CALIBRATION_DEFAULTS = {
  format: "tgi",
  dtype: "float8_e4m3fn",
  headroom: 1,
  servingTokens: 1_000_000,
  exceedance: 0.05,
  samples: 256,
  sequenceLength: 2048,
  seed: 0,
  provider: "auto",
} as const;

/** Probabilities that a level may have: beyond them, a few hundred prompts say nothing, or nothing useful. */
export const EXCEEDANCES = { least: 0.001, most: 0.5 } as const;

export const VERIFICATION_DEFAULTS = {
  ...VERIFY_DEFAULTS,
  samples: 256,
  sequenceLength: 2048,
  seed: 0,
  provider: "auto",
} as const;

/** Arms without FP8: the others are compared with one of these, and the two with each other are the noise floor. */
export const BASELINES: readonly ArmName[] = ["16-bit", "exact"];

export const RETRIEVAL_DEFAULTS = { tokens: 8192, values: 96 } as const;

export const GENERATION_DEFAULTS = { maxNewTokens: 64 } as const;

/** Providers that need more than the npm package, which can be downloaded. */
export const INSTALLABLE_PROVIDERS = ["cuda"] as const;

export interface ModelOptions {
  /**
   * A checkpoint folder, or a hub id: `org/name`, `org/name@revision`, or the address of its page. CheckpointError when
   * the folder cannot be read, HubError when the hub does not deliver it.
   */
  readonly model: string;
  /**
   * Branch, tag or commit of a hub id. UsageError with a folder.
   * @defaultValue `"main"`
   */
  readonly revision?: string | undefined;
  /**
   * Stops the run: it then throws InterruptedError and has written nothing.
   * @defaultValue none
   */
  readonly signal?: AbortSignal | undefined;
}

/** Where prompts come from. */
export interface DataOptions {
  /**
   * A .txt, .jsonl, .json or .parquet file, a folder of them, or a data set on the hub: `org/name`. An existing path is
   * read as a path. PromptDataError when it cannot be read, HubError when the hub does not deliver it.
   * @defaultValue what ships with the package
   */
  readonly data?: string | undefined;
  /**
   * Branch, tag or commit of a data set on the hub. UsageError with a path.
   * @defaultValue `"main"`
   */
  readonly dataRevision?: string | undefined;
  /**
   * The configuration of a data set on the hub: its folder. UsageError with a path.
   * @defaultValue `"default"`, or the only one
   */
  readonly dataConfig?: string | undefined;
  /**
   * The split of a data set on the hub. UsageError with a path.
   * @defaultValue `"train"`
   */
  readonly dataSplit?: string | undefined;
  /**
   * The column with text or messages. PromptDataError when a row has no such column.
   * @defaultValue the first that is known: see docs/prompts.md
   */
  readonly dataColumn?: string | undefined;
}

export interface ComputeOptions {
  /**
   * Keys of config.json, with dots for nested objects, that are not understood and that you know to change neither K
   * and V nor logits. One that config.json does not have is a UsageError.
   * @defaultValue none: such a key is an UnsupportedModelError
   */
  readonly assumeHarmless?: readonly string[] | undefined;
  /**
   * Where to compute. ProviderError when the named provider does not work here; `"auto"` takes the best that works.
   * @defaultValue `"auto"`
   */
  readonly provider?: ProviderChoice | undefined;
  /**
   * Numbers of the GPUs that share the work, from 0. Texts are generated on the first of them. UsageError when one is not
   * there, is named twice, or the provider has none to choose.
   * @defaultValue `[0]`
   */
  readonly devices?: readonly number[] | undefined;
  /**
   * Limit in bytes of the weights in memory at a time on the CPU, or of everything on a device. At least one layer is
   * in memory.
   * @defaultValue most of what is free on a device; as little as one small layer needs on the CPU
   */
  readonly memory?: number | undefined;
}
