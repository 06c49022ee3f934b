// Generates each text in one run of a graph. The cache is the attention operator's own, in FP8 if FP8 is compared, and
// never leaves the device. Opens one session at a time, because each holds the whole model.

import { cacheSites } from "../architectures/cache-sites.js";
import { ProviderError, throwIfAborted } from "../errors.js";
import { buildGenerationLoop, GENERATION_OPSET, GENERATION_VALUES } from "../graphs/generation-loop.js";
import { type BufferType, requireBufferType } from "../graphs/operator-cache.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import { type NamedTensors, openSession, type Session } from "../runtime/session.js";
import { RopeTableCache, rotationInputs } from "./batch-inputs.js";
import { sliceVocabulary } from "./evaluate-head.js";
import type { GenerateRequest } from "./generate-texts.js";
import { type GeneratedSequence, type Generator, notFiniteWhileGenerating } from "./generator.js";
import { loopObstacle } from "./loop-obstacle.js";
import { requireCache } from "./stored-cache.js";
import { weightLocations } from "./weight-locations.js";

const BYTES_OF_BUFFER_TYPE: Readonly<Record<BufferType, number>> = {
  float8_e4m3fn: 1,
  bfloat16: 2,
  float16: 2,
  float32: 4,
};

/** Bytes of a slice of the output head: sessions limit the size of a tensor. */
const SLICE_BYTES = 2 ** 30;

/** @throws ProviderError where there is an obstacle: see loopObstacle */
export async function openLoopGenerator(request: GenerateRequest): Promise<Generator> {
  const { caches, plan } = request;
  const { arithmetic } = plan;
  const obstacle = loopObstacle({ ...request, arithmetic });
  if (obstacle !== undefined) throw new ProviderError(obstacle);
  const typeOf = (cache: number): BufferType => requireBufferType(requireCache(caches, cache), arithmetic);
  const loops = new OpenLoops(request);
  return {
    timesPrompts: true,
    storedType: typeOf,
    async generate(prompt, cache, onTokens) {
      throwIfAborted(request.signal);
      const session = await loops.of(cache);
      const start = performance.now();
      const outputs = await session.run(loops.inputs(prompt));
      const milliseconds = performance.now() - start;
      const sequence = describeSequence(request, prompt, outputs, BYTES_OF_BUFFER_TYPE[typeOf(cache)]);
      onTokens(sequence.tokenIds.length);
      return { ...sequence, timedTokens: sequence.tokenIds.length, milliseconds };
    },
    release: () => loops.release(),
  };
}

/** The session of the cache that was used last. */
class OpenLoops {
  readonly #request: GenerateRequest;
  readonly #tables: RopeTableCache;
  #open: { readonly cache: number; readonly session: Session } | undefined;

  constructor(request: GenerateRequest) {
    this.#request = request;
    this.#tables = new RopeTableCache(request.decoder);
  }

  async of(cache: number): Promise<Session> {
    if (this.#open?.cache === cache) return this.#open.session;
    await this.release();
    const { checkpoint, decoder, end, plan, caches, endIds } = this.#request;
    const { provider, arithmetic } = plan;
    const { folder: externalDataFolder, locate } = weightLocations(checkpoint);
    const rounding = requireCache(caches, cache);
    const slices = sliceVocabulary(decoder, SLICE_BYTES);
    const graph = buildGenerationLoop({ decoder, end, locate, cache: rounding, endIds, arithmetic, slices });
    const session = await openSession({
      model: encodeModelProto(graph, GENERATION_OPSET),
      externalDataFolder,
      provider,
      purpose: `the model with a cache of ${rounding.elementType}`,
    });
    this.#open = { cache, session };
    return session;
  }

  /** The capacity is one token more than the cache will hold: the last token is never read. */
  inputs(prompt: readonly number[]): NamedTensors {
    const { maxNewTokens } = this.#request;
    const capacity = prompt.length + maxNewTokens;
    return {
      [GENERATION_VALUES.promptIds]: {
        type: "int64",
        data: BigInt64Array.from(prompt, BigInt),
        shape: [1, prompt.length],
      },
      [GENERATION_VALUES.maxNewTokens]: { type: "int64", data: BigInt64Array.of(BigInt(maxNewTokens)), shape: [] },
      // A rotation that depends on the number of tokens is an obstacle to the loop, so it does not occur here.
      ...rotationInputs(this.#tables.of(capacity), capacity),
    };
  }

  async release(): Promise<void> {
    const session = this.#open?.session;
    this.#open = undefined;
    await session?.release();
  }
}

function describeSequence(
  { decoder, endIds }: GenerateRequest,
  prompt: readonly number[],
  outputs: Readonly<Record<string, Float32Array>>,
  bytesPerElement: number,
): Omit<GeneratedSequence, "timedTokens" | "milliseconds"> {
  const tokenIds = [...(outputs[GENERATION_VALUES.tokens] ?? [])];
  const check = outputs[GENERATION_VALUES.check] ?? new Float32Array();
  const lost = outputs[GENERATION_VALUES.lost] ?? new Float32Array();
  if (!lost.every((zero) => zero === 0)) {
    throw new ProviderError("it did not keep what it had stored in float8_e4m3fn on this device");
  }
  if (!check.every((zero) => zero === 0)) throw notFiniteWhileGenerating();
  const last = tokenIds.at(-1);
  if (last === undefined) throw new RangeError("no token was generated");
  const cachedTokens = prompt.length + tokenIds.length - 1;
  const shapes = outputs[GENERATION_VALUES.bufferShapes] ?? new Float32Array();
  const bytesOf = (buffer: number) => {
    const [batch = 0, kvHeads = 0, , headDim = 0] = shapes.subarray(4 * buffer, 4 * buffer + 4);
    return batch * kvHeads * cachedTokens * headDim * bytesPerElement;
  };
  return {
    tokenIds,
    endedBy: endIds.includes(last) ? "end-token" : "limit",
    cachedTokens,
    bytesByLayer: cacheSites(decoder).map((_, site) => bytesOf(2 * site) + bytesOf(2 * site + 1)),
  };
}
