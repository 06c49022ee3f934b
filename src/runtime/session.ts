// Opens and runs ONNX Runtime sessions: the only importer of onnxruntime-node. Knows nothing of language models.

import { createRequire } from "node:module";
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { messageOf, ProviderError } from "../errors.js";
import { PROVIDERS, type ProviderName } from "./providers.js";

type Ort = typeof import("onnxruntime-node");

export type TensorData =
  | { readonly type: "float32"; readonly data: Float32Array; readonly shape: readonly number[] }
  | { readonly type: "int32"; readonly data: Int32Array; readonly shape: readonly number[] }
  | { readonly type: "int64"; readonly data: BigInt64Array; readonly shape: readonly number[] };

export interface Session {
  /** Runs the graph. Outputs are float32. @throws ProviderError */
  run(inputs: Readonly<Record<string, TensorData>>): Promise<Record<string, Float32Array>>;
  release(): Promise<void>;
}

export interface SessionRequest {
  /** Bytes of a ModelProto. */
  readonly model: Uint8Array;
  /** Folder that the locations of external data are relative to. No symbolic link may lie on the way. */
  readonly externalDataFolder: string;
  readonly provider: ProviderName;
  /** What the session is for, as error messages call it, such as "layers 0–7". */
  readonly purpose: string;
}

/** The library is large and native: it is loaded when the first session opens, so that `--help` needs none of it. */
let library: Ort | undefined;

function loadLibrary(): Ort {
  try {
    library ??= createRequire(import.meta.url)("onnxruntime-node") as Ort;
    return library;
  } catch (cause) {
    throw new ProviderError(`onnxruntime-node cannot be loaded: ${messageOf(cause)}. Reinstall the package.`, {
      cause,
    });
  }
}

/** Opens a session. @throws ProviderError naming what it was for */
export async function openSession(request: SessionRequest): Promise<Session> {
  const { model, externalDataFolder, provider, purpose } = request;
  const ort = loadLibrary();
  let session: InferenceSession;
  try {
    session = await ort.InferenceSession.create(model, {
      executionProviders: [PROVIDERS[provider].executionProvider],
      logSeverityLevel: 3,
      extra: { session: { model_external_initializers_file_folder_path: externalDataFolder } },
    });
  } catch (cause) {
    throw new ProviderError(`ONNX Runtime (${provider}) could not open ${purpose}: ${messageOf(cause)}`, { cause });
  }
  return {
    async run(inputs) {
      const feeds: Record<string, OrtTensor> = {};
      for (const [name, { type, data, shape }] of Object.entries(inputs)) {
        feeds[name] = new ort.Tensor(type, data, shape);
      }
      try {
        const outputs = await session.run(feeds);
        return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data as Float32Array]));
      } catch (cause) {
        throw new ProviderError(`ONNX Runtime (${provider}) failed in ${purpose}: ${messageOf(cause)}`, { cause });
      }
    },
    release: () => session.release(),
  };
}

/** Version of ONNX Runtime, for provenance. */
export function runtimeVersion(): string {
  return loadLibrary().env.versions.node ?? "unknown";
}
