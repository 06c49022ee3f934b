// What can be seen to stand in a provider's way without loading it: the platform, files of the package, a GPU. Each
// obstacle says what would remove it. Whether a provider really works, only opening a session tells.

import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PROVIDERS, type Provider, type ProviderName } from "./providers.js";

const require = createRequire(import.meta.url);

/** What stands in the way; undefined when nothing can be seen to. */
export function obstacleOf(name: ProviderName): string | undefined {
  const { platforms }: Provider = PROVIDERS[name];
  if (!platforms.includes(process.platform)) return `not available on ${process.platform}`;
  if (name === "cuda") return cudaObstacle();
  return undefined;
}

/** Whether `auto` should pass a provider over: it would run, if at all, on a device that the processor imitates. */
export function hasNoGpu(name: ProviderName): boolean {
  return PROVIDERS[name].usesDevice && process.platform === "linux" && !linuxHasGpu();
}

function cudaObstacle(): string | undefined {
  if (process.arch !== "x64") return `not available on ${process.platform} ${process.arch}`;
  const folder = dirname(require.resolve("onnxruntime-node/package.json"));
  const library = process.platform === "win32" ? "onnxruntime_providers_cuda.dll" : "libonnxruntime_providers_cuda.so";
  if (existsSync(join(folder, "bin", "napi-v6", process.platform, process.arch, library))) return undefined;
  const script = join(folder, "script", "install.js");
  return `onnxruntime-node was installed without ${library}. This brings it (with CUDA 12 and cuDNN 9 on the machine): node ${script} --onnxruntime-node-install=cuda12`;
}

/** Device nodes of NVIDIA's driver, of the kernel's render drivers, and of Windows' GPUs inside WSL. */
function linuxHasGpu(): boolean {
  if (["/dev/nvidiactl", "/dev/dxg"].some((path) => existsSync(path))) return true;
  try {
    return readdirSync("/dev/dri").some((name) => name.startsWith("renderD"));
  } catch {
    return false;
  }
}
