// What the command `architectures` says: every model_type that is supported, and those that are known and are not, with
// the reason. Read off the registry, so that it cannot drift.

import { ARCHITECTURES, WRAPPERS } from "../architectures/registry.js";
import { UNSUPPORTED } from "../architectures/unsupported.js";

export interface ArchitectureList {
  readonly supported: readonly SupportedArchitecture[];
  readonly unsupported: readonly { readonly modelType: string; readonly reason: string }[];
}

export interface SupportedArchitecture {
  readonly modelType: string;
  /** What people know it by. */
  readonly covers: string;
  /** Of multimodal models: the key of config.json that has the config of the decoder, which alone is computed. */
  readonly decoderKey: string | undefined;
}

/** Both lists by name. */
export function listArchitectures(): ArchitectureList {
  const decoders = Object.entries(ARCHITECTURES).map(([modelType, { covers }]) => ({
    ...{ modelType, covers, decoderKey: undefined },
  }));
  const wrappers = Object.entries(WRAPPERS).map(([modelType, { covers, decoderKey }]) => ({
    ...{ modelType, covers, decoderKey },
  }));
  const unsupported = Object.entries(UNSUPPORTED).map(([modelType, reason]) => ({ modelType, reason }));
  return { supported: [...decoders, ...wrappers].toSorted(byName), unsupported: unsupported.toSorted(byName) };
}

function byName(a: { readonly modelType: string }, b: { readonly modelType: string }): number {
  return a.modelType < b.modelType ? -1 : 1;
}
