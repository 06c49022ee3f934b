// The end of the verification's forward pass: from the last hidden states of all arms to values per position. Computes
// slices of the vocabulary, so that the output head is never in memory whole.

import type { Decoder, ModelEnd } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { throwIfAborted } from "../errors.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "../graphs/arithmetic.js";
import { buildHead, HEAD_VALUES, TOKEN_BLOCK, type VocabularySlice } from "../graphs/head.js";
import type { ArmPositions } from "../metrics/arm-metrics.js";
import { joinSlices, type SliceSums } from "../metrics/vocabulary-slices.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import { PROVIDERS, type Provider } from "../runtime/providers.js";
import { openSession, type Session } from "../runtime/session.js";
import type { ComputePlan } from "./compute-plan.js";
import type { HiddenStates } from "./hidden-states.js";
import { weightLocations } from "./weight-locations.js";
import { NotFiniteError } from "./wider-arithmetic.js";

export interface HeadRequest {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly end: ModelEnd;
  readonly windows: readonly (readonly number[])[]; // [windows][tokens]
  /** Numbers of the evaluated windows. */
  readonly evaluated: readonly number[];
  /** As in EvaluateRequest. */
  readonly positions?: readonly (readonly number[])[] | undefined; // [windows][positions]
  readonly plan: ComputePlan;
  /** Last hidden states, by arm. The first arm is the baseline. */
  readonly states: readonly HiddenStates[];
  readonly signal?: AbortSignal | undefined;
  /** Called after each tile with its share of the output head's work. */
  readonly onTile: (share: number) => void;
}

/** Bytes of logits in one run. On the CPU more would not fit into its cache; a device needs enough work at a time. */
const TILE_BYTES = { processor: 16 * 2 ** 20, device: 512 * 2 ** 20 } as const;
/** With fewer tokens of the vocabulary, matrix products would be too small to be fast. */
const MIN_SLICE = 2048;

/** Positions of a window: each token but the last predicts the next one. */
export function positionsIn(window: readonly number[] = []): number {
  return Math.max(0, window.length - 1);
}

/** How many positions of a window are evaluated: the chosen ones, or all. */
export function evaluatedIn(
  { windows, positions }: Pick<HeadRequest, "windows" | "positions">,
  window: number,
): number {
  return positions === undefined ? positionsIn(windows[window]) : (positions[window]?.length ?? 0);
}

/**
 * Values per position of each arm, evaluated windows joined.
 * @throws CheckpointError, ProviderError, InterruptedError
 */
export async function evaluateHead(request: HeadRequest): Promise<ArmPositions[]> {
  const { checkpoint, decoder, end, evaluated, positions, plan, states } = request;
  const arithmetic: Arithmetic = { ...FLOAT32_ARITHMETIC, product: plan.arithmetic.product };
  const places = evaluated.flatMap((prompt) =>
    Array.from({ length: evaluatedIn(request, prompt) }, (_, index) => ({
      prompt,
      position: positions?.[prompt]?.[index] ?? index,
    })),
  );
  const slices = places.length === 0 ? [] : sliceVocabulary(decoder, Math.min(plan.segmentBytes, largestBuffer(plan)));
  const { folder, locate } = weightLocations(checkpoint);
  const sums: SliceSums[][] = states.map(() => []); // [arms][slices]
  for (const slice of slices) {
    throwIfAborted(request.signal);
    const purpose = `the output head, tokens ${slice.start}–${slice.end - 1}`;
    const model = encodeModelProto(buildHead(end, decoder.hiddenSize, slice, locate, arithmetic));
    const session = await openSession({ model, externalDataFolder: folder, provider: plan.provider, purpose });
    try {
      const ofSlice = await runSlice(session, slice, places, request, (share) =>
        request.onTile((share * (slice.end - slice.start)) / decoder.vocabularySize),
      );
      for (const [arm, values] of ofSlice.entries()) sums[arm]?.push(values);
    } finally {
      await session.release();
    }
  }
  const joined = joinSlices(sums);
  checkFinite(joined);
  return joined;
}

/** Slices of the vocabulary whose rows of the output head take about `budget` bytes in float32. */
export function sliceVocabulary({ vocabularySize, hiddenSize }: Decoder, budget: number): VocabularySlice[] {
  const size = Math.max(MIN_SLICE, Math.floor(budget / (4 * hiddenSize)));
  const count = Math.ceil(vocabularySize / size);
  const cut = (index: number) =>
    index === count ? vocabularySize : Math.floor((index * vocabularySize) / count / TOKEN_BLOCK) * TOKEN_BLOCK;
  return Array.from({ length: count }, (_, index) => ({ start: cut(index), end: cut(index + 1) }));
}

interface Place {
  readonly prompt: number;
  readonly position: number;
}

/** Runs all positions through one slice, tile by tile. */
async function runSlice(
  session: Session,
  slice: VocabularySlice,
  places: readonly Place[],
  { decoder: { hiddenSize }, windows, states, plan, signal }: HeadRequest,
  onTile: (share: number) => void,
): Promise<SliceSums[]> {
  const arms = states.length;
  const tileBytes = Math.min(
    TILE_BYTES[PROVIDERS[plan.provider].usesDevice ? "device" : "processor"],
    largestBuffer(plan),
  );
  const rows = Math.max(1, Math.floor(tileBytes / (4 * arms * (slice.end - slice.start))));
  const results = states.map(() => emptySums(slice, places.length));
  for (let first = 0; first < places.length; first += rows) {
    throwIfAborted(signal);
    const tile = places.slice(first, first + rows);
    const hidden = new Float32Array(arms * tile.length * hiddenSize); // [arms, rows, hidden]
    const targets = new BigInt64Array(arms * tile.length); // [arms, rows, 1]
    for (const [arm, state] of states.entries()) {
      for (const [row, { prompt, position }] of tile.entries()) {
        const index = arm * tile.length + row;
        state.copyPosition(prompt, position, hidden.subarray(index * hiddenSize, (index + 1) * hiddenSize));
        const target = windows[prompt]?.[position + 1] ?? -1;
        const isInside = target >= slice.start && target < slice.end;
        targets[index] = isInside ? BigInt(target - slice.start) : 0n;
        const sums = results[arm];
        if (sums !== undefined && isInside) sums.hasTarget[first + row] = 1;
      }
    }
    const outputs = await session.run({
      [HEAD_VALUES.hidden]: { type: "float32", data: hidden, shape: [arms, tile.length, hiddenSize] },
      [HEAD_VALUES.targets]: { type: "int64", data: targets, shape: [arms, tile.length, 1] },
    });
    for (const [arm, sums] of results.entries()) {
      for (const name of ["max", "sumExp", "top", "target", "cross"] as const) {
        const values = outputs[HEAD_VALUES[name]] ?? new Float32Array();
        sums[name].set(values.subarray(arm * tile.length, (arm + 1) * tile.length), first);
      }
    }
    onTile(tile.length / places.length);
  }
  return results;
}

/** Largest size of a tensor in bytes. */
function largestBuffer({ provider }: ComputePlan): number {
  const { maxBufferBytes = Number.POSITIVE_INFINITY }: Provider = PROVIDERS[provider];
  return maxBufferBytes;
}

function emptySums({ start }: VocabularySlice, positions: number): SliceSums {
  return {
    start,
    max: new Float32Array(positions),
    sumExp: new Float32Array(positions),
    top: new Float32Array(positions),
    target: new Float32Array(positions),
    hasTarget: new Uint8Array(positions),
    cross: new Float32Array(positions),
  };
}

function checkFinite(positions: readonly ArmPositions[]): void {
  const isDamaged = positions.some(({ negativeLogLikelihood }) => !negativeLogLikelihood.every(Number.isFinite));
  if (!isDamaged) return;
  throw new NotFiniteError(
    "The model's logits are not finite (NaN or Inf). The weights are damaged, or activations overflow: nothing can be verified.",
  );
}
