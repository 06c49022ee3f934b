// The texts of a verification as token ids: windows of held-out text, and if asked for, texts to retrieve from and prompts
// to answer. Evaluates nothing.

import type { WindowPlace } from "../metrics/block-mean.js";
import { HELD_OUT_PROMPTS } from "../prompts/read-prompts.js";
import { encodeWindows, type PromptEncoder } from "./encode-prompts.js";
import { positionsIn } from "./evaluate-head.js";
import { type GenerationFacts, type PreparedGeneration, prepareGeneration } from "./generation.js";
import { readData } from "./read-data.js";
import { type PreparedRetrieval, prepareRetrieval } from "./retrieval.js";
import { textRoom } from "./text-room.js";
import type { TokenizerProcess } from "./tokenizer-process.js";
import type { VerifyOptions, VerifySettings } from "./verify-settings.js";
import { promptWarnings } from "./warnings.js";

export interface VerificationTexts {
  readonly windows: readonly (readonly number[])[]; // [windows][tokens]
  /** Where each window's positions come from. */
  readonly places: readonly WindowPlace[];
  /** Of all windows. */
  readonly tokens: number;
  readonly retrieval: PreparedRetrieval | undefined;
  readonly generation: PreparedGeneration | undefined;
  readonly warnings: readonly string[];
}

interface Facts extends Omit<GenerationFacts, "devices" | "options"> {
  /** Number of caches that are compared. */
  readonly compared: number;
}

/** Reads and encodes all texts, and stops the tokenizer. @throws as verify */
export async function encodeTexts(
  options: VerifyOptions,
  settings: VerifySettings,
  facts: Facts,
  tokenizer: TokenizerProcess,
): Promise<VerificationTexts> {
  const { decoder } = facts;
  try {
    const opened = await tokenizer.open();
    const data = await readData({ ...options, shipped: HELD_OUT_PROMPTS });
    const texts = await encodeWindows(data.prompts, tokenizer, { ...settings, vocabularySize: decoder.vocabularySize });
    const devices = settings.devices?.slice(0, 1);
    const { generate } = options;
    const generation =
      generate &&
      (await prepareGeneration({ ...facts, devices, options: generate }, tokenizer, settings.providers[0] ?? "cpu"));
    const retrieval = await encodeRetrievalTexts(options, settings, facts, tokenizer);
    return {
      windows: texts.map(({ ids }) => ids),
      places: texts.map(({ ids, passage }) => ({ positions: positionsIn(ids), passage })),
      tokens: texts.reduce((sum, { ids }) => sum + ids.length, 0),
      ...{ retrieval, generation, warnings: [...promptWarnings(data, opened), ...(retrieval?.warnings ?? [])] },
    };
  } finally {
    tokenizer.stop(); // its memory is free for computing
  }
}

/**
 * The texts to retrieve from; undefined unless asked for. @throws as verify; ProviderError for texts that do not fit into
 * memory
 */
export async function encodeRetrievalTexts(
  { retrieval, memory, signal }: VerifyOptions,
  { seed, devices, providers: [provider = "cpu"] }: VerifySettings,
  { checkpoint, decoder, compared }: Pick<Facts, "checkpoint" | "decoder" | "compared">,
  tokenizer: PromptEncoder,
): Promise<PreparedRetrieval | undefined> {
  if (retrieval === undefined) return undefined;
  const request = { provider, devices, checkpoint, decoder, memory, signal };
  const roomFor = (tokens: number) => textRoom({ ...request, tokens }, compared);
  return await prepareRetrieval(retrieval, { checkpoint, decoder, seed, roomFor }, tokenizer);
}
