// Opens and runs ONNX Runtime sessions: the only importer of onnxruntime-node. Knows nothing of language models.

import { createRequire } from "node:module";
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { messageOf, ProviderError } from "../errors.js";
import { explainRuntimeError } from "./error-advice.js";
import { threadLimit } from "./processors.js";
import { loadFailureOf } from "./provider-library.js";
import { PROVIDERS, type ProviderName } from "./providers.js";

type Ort = typeof import("onnxruntime-node");

const require = createRequire(import.meta.url);

export type TensorData =
  | { readonly type: "float32"; readonly data: Float32Array; readonly shape: readonly number[] }
  /** The bits of float16. */
  | { readonly type: "float16"; readonly data: Uint16Array; readonly shape: readonly number[] }
  | { readonly type: "int32"; readonly data: Int32Array; readonly shape: readonly number[] }
  | { readonly type: "uint8"; readonly data: Uint8Array; readonly shape: readonly number[] }
  | { readonly type: "uint16"; readonly data: Uint16Array; readonly shape: readonly number[] }
  | { readonly type: "int64"; readonly data: BigInt64Array; readonly shape: readonly number[] };

export type NamedTensors = Readonly<Record<string, TensorData>>;

export interface Session {
  /**
   * Runs the graph. Outputs are float32.
   * @param into where outputs are written that the caller has memory for; they are not among the result
   * @throws ProviderError
   */
  run(inputs: NamedTensors, into?: NamedTensors): Promise<Record<string, Float32Array>>;
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
let library: { readonly ort: Ort; readonly threads: number | undefined } | undefined;

function loadLibrary(threads?: number): NonNullable<typeof library> {
  // ONNX Runtime's own telemetry is on by default and reads this when it is loaded.
  process.env.ORT_DISABLE_TELEMETRY = "1";
  try {
    library ??= { ort: require("onnxruntime-node") as Ort, threads: threads ?? threadLimit() };
    return library;
  } catch (cause) {
    throw new ProviderError(`onnxruntime-node cannot be loaded: ${messageOf(cause)}. Reinstall the package.`, {
      cause,
    });
  }
}

/**
 * Loads the library before it is needed; that it cannot be loaded is said when a session opens.
 * @param threads that sessions compute with; by default, as many as this process may use
 */
export function preloadRuntime(threads?: number): void {
  try {
    loadLibrary(threads);
  } catch {}
}

/** Opens a session. @throws ProviderError naming what it was for */
export async function openSession(request: SessionRequest): Promise<Session> {
  const { model, externalDataFolder, provider, purpose } = request;
  const { ort, threads } = loadLibrary();
  let session: InferenceSession;
  try {
    session = await ort.InferenceSession.create(model, {
      executionProviders: [PROVIDERS[provider].executionProvider],
      ...(threads !== undefined && { intraOpNumThreads: threads }),
      // Errors come as exceptions with the same text; on stderr they would stand twice.
      logSeverityLevel: 4,
      // A pattern is one block beside the pieces that the first run has taken, so that memory would double.
      enableMemPattern: !PROVIDERS[provider].usesDevice,
      extra: { session: sessionSettings(externalDataFolder, provider) },
    });
  } catch (cause) {
    throw providerError(`ONNX Runtime (${provider}) could not open ${purpose}`, cause, loadFailureOf(provider, cause));
  }
  return {
    async run(inputs, into = {}) {
      const given = toOrtTensors(ort, into);
      const wanted = Object.fromEntries(session.outputNames.map((name) => [name, given[name] ?? null]));
      try {
        const outputs = await session.run(toOrtTensors(ort, inputs), wanted);
        const results = Object.entries(outputs).filter(([name]) => !(name in into));
        return Object.fromEntries(results.map(([name, tensor]) => [name, tensor.data as Float32Array]));
      } catch (cause) {
        throw providerError(`ONNX Runtime (${provider}) failed in ${purpose}`, cause);
      }
    },
    release: () => session.release(),
  };
}

function providerError(what: string, cause: unknown, detail?: string): ProviderError {
  const said = [messageOf(cause).trim(), detail].filter((text) => text !== undefined).join(": ");
  return new ProviderError(`${what}: ${explainRuntimeError(said)}`, { cause });
}

function sessionSettings(externalDataFolder: string, provider: ProviderName): Record<string, string> {
  return {
    model_external_initializers_file_folder_path: externalDataFolder,
    // Weights then take what they need; from the pool, whose pieces double, they would take up to twice that.
    ...(PROVIDERS[provider].usesDevice && { use_device_allocator_for_initializers: "1" }),
  };
}

function toOrtTensors(ort: Ort, tensors: NamedTensors): Record<string, OrtTensor> {
  const entries = Object.entries(tensors);
  return Object.fromEntries(entries.map(([name, { type, data, shape }]) => [name, new ort.Tensor(type, data, shape)]));
}

/** Version of ONNX Runtime, for provenance. Does not load it. */
export function runtimeVersion(): string {
  return (require("onnxruntime-node/package.json") as { version: string }).version;
}
