// Why the library of a provider cannot be loaded: ONNX Runtime's error says only that it cannot, and the reason goes to
// stderr. The system's loader is asked again.

import { messageOf } from "../errors.js";
import { cudaLibraryPath, thisSystem } from "./provider-obstacles.js";
import type { ProviderName } from "./providers.js";

/**
 * The loader's words, such as "libcudnn.so.9: cannot open shared object file"; undefined when the error is of another
 * kind, or the loader finds no fault.
 */
export function loadFailureOf(provider: ProviderName, error: unknown): string | undefined {
  if (provider !== "cuda" || !/Failed to load shared library/.test(messageOf(error))) return undefined;
  return loadFailure(cudaLibraryPath(thisSystem()));
}

/** What the loader says of a library. */
export function loadFailure(path: string): string | undefined {
  try {
    process.dlopen({ exports: {} }, path);
  } catch (error) {
    const words = messageOf(error);
    // Node's complaint about a library that was loaded, but is no module of its own.
    return /did not self-register/.test(words) ? undefined : words;
  }
  return undefined;
}
