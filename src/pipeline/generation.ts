// The part of a verification that generates: gives texts through a 16-bit and an FP8 cache, where they differ, and what
// the caches store. Computing runs in its own process; here are the texts, the checkpoint's files, and the choice of
// the generator.

import { blockWithoutStep } from "../architectures/block-facts.js";
import type { Decoder, ModelEnd } from "../architectures/description.js";
import { readEndTokens } from "../checkpoint/end-tokens.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { PromptDataError, ProviderError, UnsupportedModelError } from "../errors.js";
import type { Arithmetic, ComputeType } from "../graphs/arithmetic.js";
import type { CodedRounding } from "../graphs/decode-step.js";
import type { CacheRounding } from "../graphs/kv-cache.js";
import { untilInterrupted } from "../interrupts.js";
import { GENERATION_PROMPTS, readPrompts } from "../prompts/read-prompts.js";
import { PROVIDERS, type ProviderName } from "../runtime/providers.js";
import type { ArmRoundings } from "./arms.js";
import { planCompute } from "./compute-plan.js";
import { startComputeProcess } from "./compute-process.js";
import { requireDeviceMemoryForModel, requireMemoryForModel } from "./decode-memory.js";
import { encodeOpenPrompts, type OpenPrompt, type PromptEncoder } from "./encode-prompts.js";
import type { CacheGeneration, GeneratedIds, GenerateProgress, GenerateRequest } from "./generate-texts.js";
import type { GenerationWay } from "./generator.js";
import { loopObstacle } from "./loop-obstacle.js";
import { loopOrSteps } from "./loop-or-steps.js";
import { requireInteger } from "./option-checks.js";
import { GENERATION_DEFAULTS } from "./run-options.js";
import type { Worker } from "./share-work.js";
import { planOnDevices, startOnDevices } from "./start-workers.js";
import type { TokenizerProcess } from "./tokenizer-process.js";
import type { ArmName, Continuation, GeneratedText, GenerationResult, MeasuredCache } from "./verify-result.js";

export interface GenerationOptions {
  /**
   * Prompts: a .txt or .jsonl file, or a folder of them. PromptDataError when they cannot be read.
   * @defaultValue the conversations that ship with the package
   */
  readonly data?: string | undefined;
  /**
   * Largest number of tokens of an answer, 1 or more.
   * @defaultValue `64`
   */
  readonly maxNewTokens?: number | undefined;
}

/** What generating needs to know of the model and the run. */
export interface GenerationFacts {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly end: ModelEnd;
  /** Starts a tokenizer to decode the texts at the end, so that it takes no memory until then. */
  readonly startTokenizer: () => Pick<TokenizerProcess, "decode" | "stop">;
  readonly rounding: ArmRoundings;
  /** The arms whose caches texts are generated through. */
  readonly caches: { readonly bits16: ArmName; readonly fp8: ArmName };
  readonly devices: readonly number[] | undefined;
  /** Limit in bytes of weights on the CPU, or of everything on a device; default: what is free. */
  readonly memory: number | undefined;
  readonly options: GenerationOptions;
  readonly signal?: AbortSignal | undefined;
}

/** Everything that is known before computing. */
export interface PreparedGeneration {
  readonly facts: GenerationFacts;
  readonly prompts: readonly OpenPrompt[];
  readonly request: Omit<GenerateRequest, "plan">;
}

/**
 * Bytes of weights of a session on the CPU. Few sessions are better, because each has its own threads; but while a
 * session opens, its weights are in memory twice, as stored and converted.
 */
const SESSION_BYTES = 2 ** 30;

/** @throws PromptDataError for a prompt that its answer would carry beyond the learned positions */
function requirePositionsFor({ embedding }: Decoder, prompts: readonly OpenPrompt[], maxNewTokens: number): void {
  const most = embedding.positions?.tokens ?? Number.POSITIVE_INFINITY;
  const longest = prompts.reduce((length, { ids }) => Math.max(length, ids.length), 0);
  // Nobody reads the last token.
  if (longest + maxNewTokens - 1 <= most) return;
  throw new PromptDataError(
    `--generate: a prompt has ${longest} tokens, and this model has learned ${most} positions: no room for an answer of ${maxNewTokens} tokens. Generate fewer (--max-new-tokens), or give shorter prompts (--generate-data)`,
  );
}

/** @throws UnsupportedModelError for a model with a block that is not computed token by token */
export function requireSteps({ layers }: Decoder): void {
  const unsteppable = blockWithoutStep(layers);
  if (unsteppable === undefined) return;
  throw new UnsupportedModelError(
    `--generate: this model has a block of the kind "${unsteppable}", which is not computed token by token yet: leave out --generate`,
  );
}

/**
 * Reads and encodes the prompts, and checks that the model fits. The model has passed requireSteps.
 * @param provider that will evaluate, unless it fails
 * @throws UsageError, PromptDataError, CheckpointError; ProviderError when memory is short
 */
export async function prepareGeneration(
  facts: GenerationFacts,
  tokenizer: PromptEncoder,
  provider: ProviderName,
): Promise<PreparedGeneration> {
  const { checkpoint, decoder, end, rounding, caches, options, signal } = facts;
  const { maxNewTokens = GENERATION_DEFAULTS.maxNewTokens, data = GENERATION_PROMPTS } = options;
  requireInteger("maxNewTokens", maxNewTokens, 1);
  // If another device evaluates, the limit is for that device, and texts are generated on the CPU.
  const limit = provider === "cpu" ? facts.memory : undefined;
  if (provider === "cuda") await requireRoomOnDevice(facts);
  else requireMemoryForModel(checkpoint, decoder, limit);
  const read = await untilInterrupted(signal, readPrompts(data));
  const prompts = await encodeOpenPrompts(read, tokenizer, decoder.vocabularySize);
  requirePositionsFor(decoder, prompts, maxNewTokens);
  const request = {
    ...{ checkpoint, decoder, end, maxNewTokens },
    prompts: prompts.map(({ ids }) => ids),
    endIds: await readEndTokens(checkpoint),
    // FP8 first: if the operator cannot keep it, that shows before the other cache takes any time.
    caches: [caches.fp8, caches.bits16].map((arm) => codedRounding(rounding.roundings[rounding.indexOf(arm)])),
  };
  return { facts, prompts, request };
}

/** Checks the device before the arms are evaluated, as far as possible. @throws UsageError, ProviderError */
async function requireRoomOnDevice({ devices, checkpoint, decoder, memory, signal }: GenerationFacts): Promise<void> {
  const request = { provider: "cuda", devices, checkpoint, decoder, memory, signal } as const;
  const planned = await planOnDevices(request).catch((error: unknown) => {
    // A missing device shows again in the evaluation, where another provider may replace it.
    if (error instanceof ProviderError) return undefined;
    throw error;
  });
  if (planned === undefined || (planned.freeBytes === undefined && memory === undefined)) return;
  const { arithmetic, segmentBytes } = planned.plan;
  requireDeviceMemoryForModel(checkpoint, decoder, arithmetic.elementType, segmentBytes);
}

export interface GeneratedByBestWay {
  readonly generation: GenerationResult;
  /** Why it is not the expected way. */
  readonly warnings: readonly string[];
}

interface Callbacks extends Pick<GenerateRequest, "signal"> {
  readonly onProgress: (progress: GenerateProgress) => void;
}

/** The arithmetic with which the arms were evaluated; texts are generated with the same. */
export interface EvaluatedWith {
  readonly provider: ProviderName;
  readonly computedIn: readonly ComputeType[];
}

/**
 * On CUDA through the attention operator's own cache, if it supports this one; otherwise through codes.
 * @throws CheckpointError, ProviderError, InterruptedError
 */
export async function generateThroughCaches(
  prepared: PreparedGeneration,
  { provider, computedIn }: EvaluatedWith,
  callbacks: Callbacks,
): Promise<GeneratedByBestWay> {
  const { facts, request } = prepared;
  if (provider !== "cuda") {
    const { checkpoint, decoder } = facts;
    // Each token reads all weights, so they become numbers once.
    const plan = {
      ...planCompute({ provider: "cpu", checkpoint, decoder }),
      ...({ segmentBytes: SESSION_BYTES, dequantizes: "when-opened" } as const),
    };
    return generateBy("steps", { process: startComputeProcess(), plan }, prepared, callbacks);
  }
  const arithmetic = arithmeticThatHeld(facts, computedIn);
  const by = async (way: GenerationWay) => generateBy(way, await startOnDevice(facts, arithmetic), prepared, callbacks);
  const { result, obstacle } = await loopOrSteps({
    obstacle: loopObstacle({ ...request, arithmetic }),
    loop: () => by("loop"),
    steps: () => by("steps"),
  });
  const stored = result.generation.fp8.storedType;
  const instead = `Texts were generated through ${stored} codes, not through GroupQueryAttention's own cache`;
  return {
    generation: result.generation,
    warnings: [...result.warnings, ...(obstacle === undefined ? [] : [`${instead}: ${obstacle}.`])],
  };
}

/** An arithmetic that was too narrow for the held-out text is not tried again on prompts. */
function arithmeticThatHeld({ checkpoint, decoder }: GenerationFacts, computedIn: readonly ComputeType[]): Arithmetic {
  const { arithmetic } = planCompute({ provider: "cuda", checkpoint, decoder });
  const hasHeld = computedIn.every((type) => type === arithmetic.elementType);
  return hasHeld ? arithmetic : PROVIDERS.cuda.wideArithmetic;
}

async function generateBy(
  way: GenerationWay,
  { process, plan }: Worker,
  { facts, prompts, request }: PreparedGeneration,
  { signal, onProgress }: Callbacks,
): Promise<GeneratedByBestWay> {
  try {
    onProgress({ texts: 0, ofTexts: request.prompts.length * request.caches.length, tokens: 0 });
    const { caches, warnings } = await process.run("generate", { ...request, plan, way, signal, onProgress });
    process.stop(); // the tokenizer needs memory, too
    const texts = await decodeTexts(facts, caches);
    return { generation: describeGeneration(facts, prompts, request.maxNewTokens, caches, texts), warnings };
  } finally {
    process.stop();
  }
}

/** @returns a list for each cache */
async function decodeTexts(
  { startTokenizer }: GenerationFacts,
  caches: readonly CacheGeneration[],
): Promise<readonly (readonly string[])[]> {
  const tokenizer = startTokenizer();
  try {
    const decoded: string[][] = [];
    for (const { texts } of caches) decoded.push(await tokenizer.decode(texts.map(({ tokenIds }) => tokenIds)));
    return decoded;
  } finally {
    tokenizer.stop();
  }
}

/**
 * A process that generates on CUDA. WebGPU, CoreML and DirectML are not used: a step has so little work that the CPU is
 * as fast.
 * @throws ProviderError when the device has no room for the model
 */
async function startOnDevice(
  { devices, checkpoint, decoder, memory, signal }: GenerationFacts,
  arithmetic: Arithmetic,
): Promise<Worker> {
  const planned = await planOnDevices({ provider: "cuda", devices, checkpoint, decoder, memory, signal });
  const plan = { ...planned.plan, arithmetic };
  requireDeviceMemoryForModel(checkpoint, decoder, arithmetic.elementType, plan.segmentBytes);
  const [worker] = startOnDevices({ ...planned, plan });
  if (worker === undefined) throw new RangeError("no process was started");
  return worker;
}

function codedRounding(rounding: CacheRounding | undefined): CodedRounding {
  if (rounding === undefined || rounding.elementType === "float32") throw new RangeError("float32 has no codes");
  return { ...rounding, elementType: rounding.elementType };
}

function describeGeneration(
  { caches, rounding }: GenerationFacts,
  prompts: readonly OpenPrompt[],
  maxNewTokens: number,
  [fp8, bits16]: readonly CacheGeneration[],
  [fp8Texts = [], bits16Texts = []]: readonly (readonly string[])[],
): GenerationResult {
  if (bits16 === undefined || fp8 === undefined) throw new RangeError("a cache was left out");
  const measured = (arm: ArmName, { bytesPerToken, ...cache }: CacheGeneration): MeasuredCache => ({
    arm,
    description: rounding.describe(arm),
    storedBy: cache.way,
    storedType: cache.storedType,
    bytesPerToken: bytesPerToken.reduce((sum, bytes) => sum + bytes, 0),
    bytesPerTokenByLayer: bytesPerToken,
    tokensPerSecond: cache.tokensPerSecond,
    timesPrompts: cache.timesPrompts,
  });
  const continuation = (generated: GeneratedIds | undefined, text: string | undefined): Continuation => {
    if (generated === undefined || text === undefined) throw new RangeError("a prompt was left out");
    return { text, ...generated };
  };
  return {
    maxNewTokens,
    texts: prompts.map(({ shown }, index): GeneratedText => {
      const first = continuation(bits16.texts[index], bits16Texts[index]);
      const second = continuation(fp8.texts[index], fp8Texts[index]);
      return { prompt: shown, bits16: first, fp8: second, partsAt: firstDifference(first.tokenIds, second.tokenIds) };
    }),
    bits16: measured(caches.bits16, bits16),
    fp8: measured(caches.fp8, fp8),
  };
}

/** The first position that differs, from 1. If one list is longer, the lists differ after the end of the other. */
function firstDifference(a: readonly number[], b: readonly number[]): number | undefined {
  const length = Math.max(a.length, b.length);
  for (let index = 0; index < length; index++) if (a[index] !== b[index]) return index + 1;
  return undefined;
}
