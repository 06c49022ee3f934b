// Installs what a provider needs beyond the npm package: at present CUDA's libraries. Decides whether there is
// something to do, and checks whether the result can be loaded. runtime/cuda-libraries downloads them.

import { dirname } from "node:path";
import { ProviderError } from "../errors.js";
import { CUDA_DOWNLOAD, type CudaLibrary, downloadCudaLibraries } from "../runtime/cuda-libraries.js";
import { loadFailure } from "../runtime/provider-library.js";
import { cudaLibraryPath, obstacleOf, thisSystem } from "../runtime/provider-obstacles.js";

export interface InstallProviderOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once, before the first byte. */
  readonly onStart?: ((expected: ExpectedDownload) => void) | undefined;
  readonly onProgress?: ((progress: InstallProgress) => void) | undefined;
}

export interface ExpectedDownload {
  readonly host: string;
  /** Both rounded, of 10^6 bytes. */
  readonly downloadMegabytes: number;
  readonly diskMegabytes: number;
  readonly folder: string;
}

export interface InstallProgress {
  readonly stage: "install";
  readonly receivedBytes: number;
}

export interface InstalledProvider {
  readonly folder: string;
  /** Empty when they were already installed. */
  readonly libraries: readonly CudaLibrary[];
  /** Why the system's loader refuses the library, in its words; undefined when it loads. */
  readonly loadFailure: string | undefined;
}

/**
 * Installs CUDA's libraries into the package onnxruntime-node.
 * @throws ProviderError when this platform has no CUDA, or the download fails
 * @throws OutputWriteError when the package's folder cannot be written
 * @throws InterruptedError
 */
export async function installCuda(options: InstallProviderOptions = {}): Promise<InstalledProvider> {
  const { signal, onStart, onProgress } = options;
  const system = thisSystem();
  const path = cudaLibraryPath(system);
  const folder = dirname(path);
  const obstacle = obstacleOf("cuda", system);
  if (obstacle === undefined) return { folder, libraries: [], loadFailure: loadFailure(path) };
  if (obstacle.command === undefined) throw new ProviderError(`cuda cannot be installed: ${obstacle.what}`);
  onStart?.({ ...CUDA_DOWNLOAD, folder });
  const libraries = await downloadCudaLibraries({
    ...{ system, signal },
    onProgress: (receivedBytes) => onProgress?.({ stage: "install", receivedBytes }),
  });
  return { folder, libraries, loadFailure: loadFailure(path) };
}
