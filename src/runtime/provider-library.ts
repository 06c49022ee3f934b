// Why a provider's library cannot be loaded. ONNX Runtime's error does not give the reason, which goes only to stderr,
// so this asks the system's loader again.

import { messageOf } from "../errors.js";
import { cudaLibraryPath, thisSystem } from "./provider-obstacles.js";
import type { ProviderName } from "./providers.js";

/**
 * The loader's words, such as "libcudnn.so.9: cannot open shared object file"; undefined for other errors, or when the
 * loader finds no fault.
 */
export function loadFailureOf(provider: ProviderName, error: unknown): string | undefined {
  if (provider !== "cuda" || !/Failed to load shared library/.test(messageOf(error))) return undefined;
  return loadFailure(cudaLibraryPath(thisSystem()));
}

/** The loader's error for a library. */
export function loadFailure(path: string): string | undefined {
  try {
    process.dlopen({ exports: {} }, path);
  } catch (error) {
    const words = messageOf(error);
    // Node's complaint about a library that was loaded but is no Node module.
    return /did not self-register/.test(words) ? undefined : words;
  }
  return undefined;
}
