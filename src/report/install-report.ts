// What is said before and after a provider's libraries are installed. Pure: text out.

import { counted } from "../counted.js";
import type { ExpectedDownload, InstalledProvider } from "../pipeline/install-provider.js";
import { formatBytes } from "./text.js";

/** What will be downloaded, from where, and what it takes. */
export function downloadNotice({ host, downloadMegabytes, diskMegabytes, folder }: ExpectedDownload): string {
  return `Downloads CUDA's libraries of ONNX Runtime from ${host}: about ${downloadMegabytes} MB, ${diskMegabytes} MB on disk in\n  ${folder}\n`;
}

/** What is there now, and whether it works. */
export function installReport({ folder, libraries, loadFailure }: InstalledProvider): string {
  const bytes = libraries.reduce((sum, library) => sum + library.bytes, 0);
  const done =
    libraries.length === 0
      ? `CUDA's libraries are installed already, in\n  ${folder}\n`
      : `Installed ${counted(libraries.length, "library", "libraries")} (${formatBytes(bytes)}) in\n  ${folder}\n`;
  const works =
    loadFailure === undefined
      ? "See whether CUDA works here: npx create-kv-scales providers\n"
      : `They cannot be loaded yet: ${loadFailure}\nCUDA needs NVIDIA's driver (525 or later), CUDA 12 and cuDNN 9 on this machine.\n`;
  return done + works;
}
