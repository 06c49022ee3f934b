// The record of a calibration: what kv_scales.json and the metadata of the scales' shard say about where they come from.
// Holds no date and no path, so that the same input gives the same bytes. schemas/kv_scales.json describes it.

import type { Modality } from "../architectures/wrappers.js";
import { configTextWithoutScales } from "../checkpoint/config-text.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { namesOf, type OutputFormatName, type ScaleNames } from "../checkpoint/output-formats.js";
import { type EndOfRounds, roundsRecord } from "../numerics/end-of-rounds.js";
import type { ExpertTokens } from "../numerics/expert-tokens.js";
import type { Float8Name } from "../numerics/float8.js";
import type { LayerForecast } from "../numerics/layer-levels.js";
import { layerRecords, servingRecord } from "../numerics/layer-records.js";
import { type QuantizedWeights, quantizedWeightsRecord } from "../numerics/quantized-weights.js";
import type { LayerRange } from "../numerics/ranges.js";
import type { LayerScales } from "../numerics/scales.js";
import type { ServingQuestion } from "../numerics/serving-levels.js";
import type { ProviderName } from "../runtime/providers.js";
import { runtimeVersion } from "../runtime/session.js";
import type { DataName } from "./read-data.js";
import { commandOf, type ModelName, ontoOf } from "./run-names.js";
import { sha256 } from "./texts-hash.js";
import { TOOL_VERSION } from "./tool-version.js";

/** Of kv_scales.json. To be raised when a key goes away or gets another meaning; a new key does not raise it. */
export const RECORD_SCHEMA_VERSION = 1;

export interface RecordFacts {
  readonly checkpoint: Checkpoint;
  readonly name: ModelName;
  /** The checkpoint that the scales are written onto, if that is another. */
  readonly onto: ModelName | undefined;
  /** The name of the prompts. */
  readonly dataName: DataName;
  readonly provider: ProviderName;
  readonly dtype: Float8Name;
  readonly format: OutputFormatName;
  readonly headroom: number | "auto";
  readonly serving: ServingQuestion;
  readonly forecast: LayerForecast;
  /** Number of prompts, and the requested number. */
  readonly samples: number;
  readonly samplesAtMost: number | "auto";
  readonly rounds: EndOfRounds | undefined;
  readonly tokens: number;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly tokenizerSha256: string;
  /** Which file decided on the special tokens around a text. */
  readonly specialTokens: string;
  readonly promptsSha256: string;
  readonly ranges: readonly LayerRange[];
  readonly scales: readonly LayerScales[];
  readonly names: ScaleNames;
  readonly experts: readonly ExpertTokens[];
  /** Keys of config.json that the user said change nothing. */
  readonly assumeHarmless: readonly string[];
  readonly quantizedWeights: QuantizedWeights | undefined;
  /** Kinds of tokens that prompts can hold and the calibration did not see. */
  readonly notMeasured: readonly Modality[];
}

/** The text of kv_scales.json. */
export function recordText(facts: RecordFacts): string {
  const layers = layerRecords(facts.ranges, facts.scales, facts.forecast).map(({ layer, ...values }) => ({
    layer,
    name: namesOf(facts.names, layer)[0],
    ...values,
  }));
  const assumed = facts.assumeHarmless.length > 0 && { assumed_harmless: facts.assumeHarmless };
  const unseen = facts.notMeasured.length > 0 && { not_measured: facts.notMeasured };
  const experts = facts.experts.length > 0 && { experts: facts.experts };
  const names = { schema_version: RECORD_SCHEMA_VERSION, ...inputNames(facts) };
  const weights = quantizedWeightsRecord(facts.quantizedWeights);
  const rounds = roundsRecord(facts.rounds);
  const record = { ...names, ...provenance(facts), ...rounds, ...assumed, ...weights, ...unseen, layers, ...experts };
  return `${JSON.stringify(record, null, 2)}\n`;
}

/** Names of the inputs. They are not in the shard, which does not depend on names. */
function inputNames({ name: { model, commit }, onto, dataName, ...facts }: RecordFacts): Record<string, string> {
  const names = { model, commit, onto: onto && ontoOf(onto) };
  const command = commandOf({ ...facts, ...dataName, ...names, samples: facts.samplesAtMost });
  const { data, dataCommit, dataConfig, dataSplit, dataColumn } = dataName;
  const known = {
    commit,
    onto: names.onto,
    data,
    data_commit: dataCommit,
    data_config: dataConfig,
    data_split: dataSplit,
  };
  const given = Object.entries({ ...known, data_column: dataColumn }).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as const],
  );
  return { model, ...Object.fromEntries(given), command };
}

/** `__metadata__` of the shard with the scales: the format allows strings only. */
export function recordMetadata(facts: RecordFacts): Record<string, string> {
  const entries = Object.entries(provenance(facts)).map(([key, value]) => [key, String(value)]);
  return { format: "pt", ...Object.fromEntries(entries) };
}

function provenance(facts: RecordFacts): Record<string, string | number> {
  const { configText, config } = facts.checkpoint;
  return {
    tool: "create-kv-scales",
    tool_version: TOOL_VERSION,
    onnxruntime_version: runtimeVersion(),
    provider: facts.provider,
    dtype: facts.dtype,
    kv_scales_format: facts.format,
    headroom: facts.headroom,
    ...servingRecord(facts.serving, facts.forecast),
    samples: facts.samples,
    tokens: facts.tokens,
    sequence_length: facts.sequenceLength,
    seed: facts.seed,
    // Without the keys that an earlier run in the same folder added, so that a second run gives the same bytes.
    config_sha256: sha256(configTextWithoutScales(configText, config)),
    tokenizer_sha256: facts.tokenizerSha256,
    special_tokens: facts.specialTokens,
    prompts_sha256: facts.promptsSha256,
  };
}
