// Options that several stories take: which model, where and with how much memory it computes. Knows no story.

import type { ProviderChoice } from "./choose-provider.js";

export interface ModelOptions {
  /** A checkpoint folder, or a hub id `org/name`. */
  readonly model: string;
  /** Branch, tag or commit of a hub id. */
  readonly revision?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ComputeOptions {
  /**
   * Keys of config.json, with dots where objects are nested, that are not understood and that you know to change neither K
   * and V nor logits. One that config.json does not have is a UsageError.
   */
  readonly assumeHarmless?: readonly string[] | undefined;
  /** Where to compute; the best that works by default. */
  readonly provider?: ProviderChoice | undefined;
  /** Numbers of the devices that share the work; the first one by default. Texts are generated on the first. */
  readonly devices?: readonly number[] | undefined;
  /** Bytes: of weights at a time on the CPU, of all that is on a device elsewhere. At least one layer is in memory. */
  readonly memory?: number | undefined;
}
