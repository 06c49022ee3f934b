// What can be seen to prevent a provider without loading it: the platform, missing files of the package, no GPU. Each
// obstacle says what would remove it. Only opening a session tells whether a provider works.

import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PROVIDERS, type Provider, type ProviderName } from "./providers.js";

const require = createRequire(import.meta.url);

/** Where a provider would run. */
export interface System {
  readonly platform: string;
  readonly arch: string;
  /** Folder of the package onnxruntime-node. */
  readonly packageFolder: string;
  /** Whether there is a file or folder. */
  readonly exists: (path: string) => boolean;
  /** Names in a folder; none when there is no such folder. */
  readonly list: (folder: string) => readonly string[];
}

/** The machine that this process runs on. */
export function thisSystem(): System {
  const { platform, arch } = process;
  return { platform, arch, packageFolder: packageFolder(), exists: existsSync, list: namesIn };
}

export interface Obstacle {
  /** A clause, without a full stop. */
  readonly what: string;
  /** The shell command that removes it. */
  readonly command?: readonly string[];
}

/** The obstacle; undefined when none can be seen. */
export function obstacleOf(name: ProviderName, system: System = thisSystem()): Obstacle | undefined {
  const { systems }: Provider = PROVIDERS[name];
  const here = `${system.platform}-${system.arch}`;
  if (systems !== undefined && !systems.includes(here)) {
    return { what: `onnxruntime-node has it on ${systems.join(", ")} only, and this is ${here}` };
  }
  return name === "cuda" ? missingCudaLibrary(system) : undefined;
}

/** Whether `auto` should skip a provider, because it could run only on a software GPU. */
export function hasNoGpu(name: ProviderName, system: System = thisSystem()): boolean {
  return PROVIDERS[name].usesDevice && system.platform === "linux" && !linuxHasGpu(system);
}

const CUDA_LIBRARY = "libonnxruntime_providers_cuda.so";

/** Through npx, which runs the installed program if there is one. */
const INSTALL_CUDA = ["npx", "create-kv-scales", "providers", "--install", "cuda"] as const;

/** The library that onnxruntime-node loads for CUDA. It is too large for the npm registry, so the package lacks it. */
export function cudaLibraryPath({ packageFolder, platform, arch }: System): string {
  return join(packageFolder, "bin", "napi-v6", platform, arch, CUDA_LIBRARY);
}

function missingCudaLibrary(system: System): Obstacle | undefined {
  if (system.exists(cudaLibraryPath(system))) return undefined;
  return {
    what: `${CUDA_LIBRARY} is not installed: it is too large for the npm registry; CUDA 12 and cuDNN 9 are needed, too`,
    command: INSTALL_CUDA,
  };
}

/** Device nodes of NVIDIA's driver, of the kernel's render drivers, and of Windows' GPUs inside WSL. */
function linuxHasGpu({ exists, list }: System): boolean {
  if (["/dev/nvidiactl", "/dev/dxg"].some((path) => exists(path))) return true;
  return list("/dev/dri").some((name) => name.startsWith("renderD"));
}

function packageFolder(): string {
  return dirname(require.resolve("onnxruntime-node/package.json"));
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
