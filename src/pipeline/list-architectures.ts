// The list for the command `architectures`: every supported model_type, and known ones that are not supported, with the
// reason. Taken from the registry, so it is never stale.

import { ARCHITECTURES } from "../architectures/registry.js";
import { UNSUPPORTED } from "../architectures/unsupported.js";
import { type Modality, WRAPPERS } from "../architectures/wrappers.js";

export interface ArchitectureList {
  readonly supported: readonly SupportedArchitecture[];
  readonly unsupported: readonly { readonly modelType: string; readonly reason: string }[];
}

export interface SupportedArchitecture {
  readonly modelType: string;
  /** Names that people know. */
  readonly covers: string;
  /** Only for multimodal models: the key of config.json with the config of the text decoder. */
  readonly decoderKey: string | undefined;
  /** Kinds of tokens that a calibration does not see. */
  readonly notMeasured: readonly Modality[];
}

/** Both lists, sorted by name. */
export function listArchitectures(): ArchitectureList {
  const decoders = Object.entries(ARCHITECTURES).map(([modelType, { covers }]) => ({
    ...{ modelType, covers, decoderKey: undefined, notMeasured: [] },
  }));
  const wrappers = Object.entries(WRAPPERS).map(([modelType, { covers, decoderKey, inputs }]) => ({
    ...{ modelType, covers, decoderKey, notMeasured: inputs },
  }));
  const unsupported = Object.entries(UNSUPPORTED).map(([modelType, reason]) => ({ modelType, reason }));
  return { supported: [...decoders, ...wrappers].toSorted(byName), unsupported: unsupported.toSorted(byName) };
}

function byName(a: { readonly modelType: string }, b: { readonly modelType: string }): number {
  return a.modelType < b.modelType ? -1 : 1;
}
