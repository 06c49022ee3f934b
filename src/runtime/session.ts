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
  /** float16 as bits. */
  | { readonly type: "float16"; readonly data: Uint16Array; readonly shape: readonly number[] }
  | { readonly type: "int32"; readonly data: Int32Array; readonly shape: readonly number[] }
  | { readonly type: "uint8"; readonly data: Uint8Array; readonly shape: readonly number[] }
  | { readonly type: "uint16"; readonly data: Uint16Array; readonly shape: readonly number[] }
  | { readonly type: "int64"; readonly data: BigInt64Array; readonly shape: readonly number[] };

export type NamedTensors = Readonly<Record<string, TensorData>>;

export interface Session {
  /**
   * Runs the graph. Outputs are float32.
   * @param into memory of the caller for some outputs, which are then not in the result
   * @throws ProviderError
   */
  run(inputs: NamedTensors, into?: NamedTensors): Promise<Record<string, Float32Array>>;
  release(): Promise<void>;
}

export interface SessionRequest {
  /** Bytes of a ModelProto. */
  readonly model: Uint8Array;
  /** Folder that the locations of external data are relative to. Its path must have no symbolic link. */
  readonly externalDataFolder: string;
  readonly provider: ProviderName;
  /** What the session computes, for error messages, such as "layers 0–7". */
  readonly purpose: string;
  /** Whether what depends on weights alone is computed in each run, instead of when the session opens. */
  readonly keepsWeightsStored?: boolean | undefined;
  /** Whether quantized weights become numbers when the session opens, instead of in each run. */
  readonly dequantizesWhenOpened?: boolean | undefined;
}

/** The library is large and native: it is loaded when the first session opens, so that `--help` works without it. */
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
 * Loads the library before it is needed. If that fails, opening a session gives the error.
 * @param threads that sessions compute with; by default, as many as this process may use
 */
export function preloadRuntime(threads?: number): void {
  try {
    loadLibrary(threads);
  } catch {}
}

/** Opens a session. @throws ProviderError that names what it computes */
export async function openSession(request: SessionRequest): Promise<Session> {
  const { model, provider, purpose, keepsWeightsStored = false } = request;
  const { ort, threads } = loadLibrary();
  let session: InferenceSession;
  try {
    session = await ort.InferenceSession.create(model, {
      executionProviders: [PROVIDERS[provider].executionProvider],
      ...(threads !== undefined && { intraOpNumThreads: threads }),
      // Errors come as exceptions with the same text; on stderr they would appear twice.
      logSeverityLevel: 4,
      // A memory pattern would be one more block beside the first run's pieces, and double the memory.
      enableMemPattern: !PROVIDERS[provider].usesDevice,
      extra: {
        session: sessionSettings(request),
        ...(keepsWeightsStored && { optimization: { disable_specified_optimizers: "ConstantFolding" } }),
      },
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

function sessionSettings({
  externalDataFolder,
  provider,
  dequantizesWhenOpened = false,
}: SessionRequest): Record<string, string> {
  return {
    // Where it joins integers of weights and a product into one operator, activations would else be rounded to 8 bits.
    qdq_matmulnbits_accuracy_level: "1",
    model_external_initializers_file_folder_path: externalDataFolder,
    // Without its rules for quantized models, DequantizeLinear of constants is folded like any other operator.
    ...(dequantizesWhenOpened && { disable_quant_qdq: "1" }),
    // Weights then take what they need; from the pool, which grows by doubling, they would take up to twice that.
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
