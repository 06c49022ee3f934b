// This program's version, and that of ONNX Runtime that it computes with, as its package has them.

import { createRequire } from "node:module";

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

const MANIFEST = createRequire(import.meta.url)("../../package.json") as Manifest;

export const TOOL_VERSION = MANIFEST.version;
/** Pinned exactly. */
export const RUNTIME_VERSION = MANIFEST.dependencies["onnxruntime-node"] ?? "unknown";
