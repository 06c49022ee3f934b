// A whole model in memory that reads tokens step by step: its sessions stay open until it is released. Gives the most
// likely next token. Knows nothing of texts, and of a cache only its inputs and outputs.

import type { Decoder, ModelEnd } from "../architectures/description.js";
import { ropeRegimes } from "../architectures/rope.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { buildDecodeStep, type CodedRounding, DECODE_VALUES } from "../graphs/decode-step.js";
import { buildGreedyHead, GREEDY_HEAD_VALUES } from "../graphs/greedy-head.js";
import { SEGMENT_VALUES } from "../graphs/segment.js";
import { cacheLayersOf } from "../graphs/segment-parts.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import { type NamedTensors, openSession, type Session } from "../runtime/session.js";
import { countInputs, RopeTableCache, rotationInputs, tokenInputs } from "./batch-inputs.js";
import type { ComputePlan } from "./compute-plan.js";
import { sliceVocabulary } from "./evaluate-head.js";
import { notFiniteWhileGenerating } from "./generator.js";
import { planSegments } from "./segment-plan.js";
import type { StoredCache } from "./stored-cache.js";
import { storedBytes, weightLocations } from "./weight-locations.js";
import { weightsWhenOpened } from "./weights-when-opened.js";

export interface DecodeModelRequest {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly end: ModelEnd;
  /** How layers are computed; the output head is always float32. Each segment is a session; all are open at once. */
  readonly plan: ComputePlan;
  /** The caches that a step may read. */
  readonly caches: readonly CodedRounding[];
  /** Largest number of tokens of a sequence. */
  readonly maxTokens: number;
}

/**
 * Tokens of a prompt that are read in one step. The scores of attention take their number times that of all tokens
 * before.
 */
const MAX_STEP_TOKENS = 512;

interface OpenPart {
  readonly session: Session;
  /** Layers whose caches are written in it. */
  readonly layers: readonly number[];
  readonly takesPositions: boolean;
  readonly startsWithIds: boolean;
}

interface OpenSlice {
  readonly session: Session;
  readonly start: number;
}

/** Reads tokens and adds their K and V to the given cache. */
export class DecodeModel {
  readonly #decoder: Decoder;
  readonly #maxTokens: number;
  readonly #tables: RopeTableCache;
  readonly #parts: OpenPart[] = [];
  readonly #slices: OpenSlice[] = [];

  private constructor({ decoder, maxTokens }: DecodeModelRequest) {
    this.#decoder = decoder;
    this.#maxTokens = maxTokens;
    this.#tables = new RopeTableCache(decoder);
  }

  /** Opens all sessions. @throws ProviderError naming what could not be opened */
  static async open(request: DecodeModelRequest): Promise<DecodeModel> {
    const model = new DecodeModel(request);
    try {
      await model.#open(request);
      return model;
    } catch (error) {
      await model.release();
      throw error;
    }
  }

  async #open(request: DecodeModelRequest): Promise<void> {
    const { checkpoint, decoder, end, plan, caches } = request;
    const { provider, arithmetic, segmentBytes, dequantizes } = plan;
    const { folder: externalDataFolder, locate } = weightLocations(checkpoint);
    for (const { parts, purpose } of planSegments(
      decoder,
      { segmentBytes, elementType: arithmetic.elementType, dequantizes },
      storedBytes(checkpoint),
      "layer",
    )) {
      const model = encodeModelProto(buildDecodeStep(decoder, parts, locate, caches, arithmetic));
      this.#parts.push({
        session: await openSession({
          ...{ model, externalDataFolder, provider, purpose },
          ...weightsWhenOpened(plan, decoder, parts),
        }),
        layers: cacheLayersOf(parts),
        takesPositions: parts.some(({ kind }) => kind !== "embedding"),
        startsWithIds: parts[0]?.kind === "embedding",
      });
    }
    for (const slice of sliceVocabulary(decoder, segmentBytes)) {
      const purpose = `the output head, tokens ${slice.start}–${slice.end - 1}`;
      const model = encodeModelProto(buildGreedyHead(end, decoder.hiddenSize, slice, locate));
      this.#slices.push({
        session: await openSession({ model, externalDataFolder, provider, purpose }),
        start: slice.start,
      });
    }
  }

  /**
   * Reads the tokens that follow those in the cache, and adds their K and V to it.
   * @returns the most likely next token; of equally likely ones the lowest
   * @throws CheckpointError when activations are not finite, ProviderError
   */
  async read(ids: readonly number[], cache: StoredCache): Promise<number> {
    if (ids.length === 0) throw new RangeError("no tokens to read");
    const total = cache.tokens + ids.length;
    let last: Float32Array = new Float32Array();
    for (let first = 0; first < ids.length; first += MAX_STEP_TOKENS) {
      last = await this.#step(ids.slice(first, first + MAX_STEP_TOKENS), total, cache);
    }
    return this.#mostLikely(last);
  }

  async release(): Promise<void> {
    for (const { session } of [...this.#parts, ...this.#slices]) await session.release();
  }

  /** The last hidden state of the last of these tokens. @param total number of tokens that the rotation depends on */
  async #step(ids: readonly number[], total: number, cache: StoredCache): Promise<Float32Array> {
    const { hiddenSize, embedding } = this.#decoder;
    const start: NamedTensors =
      embedding.positions === undefined
        ? {}
        : {
            [DECODE_VALUES.firstPosition]: { type: "int64", data: BigInt64Array.of(BigInt(cache.tokens)), shape: [1] },
          };
    const positions = this.#positionInputs(cache.tokens, ids.length, total);
    let hidden: Float32Array = new Float32Array();
    for (const { session, layers, takesPositions, startsWithIds } of this.#parts) {
      const outputs = await session.run({
        ...(startsWithIds
          ? { ...tokenInputs({ prompts: [0], lengths: [ids.length], width: ids.length }, [ids]), ...start }
          : { [SEGMENT_VALUES.hidden]: { type: "float32", data: hidden, shape: [1, ids.length, hiddenSize] } }),
        ...(takesPositions && { ...positions, ...cache.inputs(layers) }),
      });
      cache.store(layers, outputs);
      hidden = outputs[SEGMENT_VALUES.nextHidden] ?? new Float32Array();
    }
    cache.advance(ids.length);
    return hidden.subarray(-hiddenSize);
  }

  /** The rotation of `count` positions from `first` on. */
  #positionInputs(first: number, count: number, total: number): NamedTensors {
    const { ropes } = this.#decoder;
    // One table for all steps, unless a rotation depends on the number of tokens.
    const isFixed = ropeRegimes(ropes, total) === ropeRegimes(ropes, this.#maxTokens);
    const length = isFixed ? this.#maxTokens : total;
    const end = first + count;
    const rows = (table: Float32Array) => {
      const pairs = table.length / length;
      return table.subarray(first * pairs, end * pairs);
    };
    const tables = this.#tables.of(length).map(({ cos, sin }) => ({ cos: rows(cos), sin: rows(sin) }));
    return {
      ...rotationInputs(tables, count),
      ...countInputs({ lengths: [end], width: end }),
    };
  }

  async #mostLikely(hidden: Float32Array): Promise<number> {
    let best = { logit: Number.NEGATIVE_INFINITY, token: Number.NaN };
    for (const { session, start } of this.#slices) {
      const outputs = await session.run({
        [GREEDY_HEAD_VALUES.hidden]: { type: "float32", data: hidden, shape: [1, 1, hidden.length] },
      });
      const logit = outputs[GREEDY_HEAD_VALUES.max]?.[0] ?? Number.NaN;
      if (logit > best.logit) best = { logit, token: start + (outputs[GREEDY_HEAD_VALUES.top]?.[0] ?? Number.NaN) };
    }
    // A maximum can be finite although other values are NaN, so the hidden states are checked, too.
    if (Number.isFinite(best.logit) && hidden.every(Number.isFinite)) return best.token;
    throw notFiniteWhileGenerating();
  }
}
