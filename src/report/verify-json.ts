// The result of a verification for machines. Keys are stable. Pure: text out.

import type { Interval } from "../metrics/block-mean.js";
import type { Fidelity } from "../metrics/cache-fidelity.js";
import { isNoDifference } from "../metrics/thresholds.js";
import type {
  ArmResult,
  Continuation,
  GenerationResult,
  LayerFidelity,
  MeasuredCache,
  RetrievalResult,
  VerifyResult,
} from "../pipeline/verify-result.js";
import { resultJson } from "./result-json.js";
import { noiseFloorFor, noiseFloorOf } from "./verify-figures.js";
import { storedAs } from "./verify-generation.js";

/**
 * Everything that was measured and decided, as one JSON document that ends with a line break. NaN and infinite values
 * are null: the SQNR of a lossless cache, the interval of a text that is too short.
 */
export function verifyJson(result: VerifyResult, seconds: number): string {
  const { thresholds, verdict } = result;
  const noise = noiseFloorOf(result);
  const summary = {
    checkpoint: result.checkpoint,
    model_type: result.modelType,
    provider: result.provider,
    computed_in: result.computedIn,
    dtype: result.dtype,
    scale_source: result.scaleSource ?? null,
    baseline: result.baseline,
    windows: result.windows,
    tokens: result.tokens,
    positions: result.positions,
    seconds: Number(seconds.toFixed(3)),
    thresholds: {
      max_perplexity_increase: thresholds.maxPerplexityIncrease,
      max_kl: thresholds.maxKl,
      min_agreement: thresholds.minAgreement,
      min_retrieval: thresholds.minRetrieval,
    },
    verdict: {
      name: verdict.name,
      passed: verdict.passed,
      sentence: verdict.sentence,
      reasons: verdict.reasons,
      layers: verdict.layers,
      flag: verdict.flag ?? null,
      more_tokens: verdict.moreTokens ?? null,
      more_values: verdict.moreValues ?? null,
    },
    noise_floor: noise === undefined ? null : { perplexity_ratio: noise.perplexityRatio, mean_kl: noise.meanKl },
    arms: result.arms.map((arm) => armRecord(arm, result)),
    layer_effects: result.layerEffects.map(({ layer, meanKl, perplexityRatio, agreement }) => ({
      layer,
      mean_kl: meanKl,
      perplexity_ratio: perplexityRatio,
      agreement,
    })),
    position_bins: result.positionBins.map(({ first, end, positions, meanKl }) => ({
      first,
      end,
      positions,
      mean_kl: meanKl,
    })),
    retrieval: result.retrieval === undefined ? null : retrievalRecord(result.retrieval),
    generation: result.generation === undefined ? null : generationRecord(result.generation),
    warnings: result.warnings,
  };
  return resultJson(summary);
}

function armRecord(arm: ArmResult, result: VerifyResult) {
  const { divergence } = arm;
  return {
    name: arm.name,
    description: arm.description,
    perplexity: arm.perplexity,
    perplexity_error: arm.perplexityError,
    perplexity_ratio: intervalRecord(arm.perplexityRatio),
    no_difference: isNoDifference(arm.perplexityRatio, noiseFloorFor(arm, result)),
    kl: {
      mean: intervalRecord(divergence.mean),
      median: divergence.median,
      p99: divergence.p99,
      max: divergence.max,
    },
    agreement: arm.agreement,
    agreement_interval: intervalRecord(arm.agreementInterval),
    layers: arm.layers.map(layerRecord),
  };
}

function intervalRecord({ value, low, high }: Interval) {
  return { value, low, high };
}

function layerRecord({ layer, kScale, vScale, k, v }: LayerFidelity) {
  return { layer, k_scale: kScale, v_scale: vScale, k: fidelityRecord(k), v: fidelityRecord(v) };
}

function fidelityRecord({ sqnr, saturatedShare, flushedShare, saturated, elements, absmax }: Fidelity) {
  return {
    sqnr_db: sqnr,
    saturated_share: saturatedShare,
    flushed_share: flushedShare,
    saturated,
    elements,
    absmax,
  };
}

function retrievalRecord({ isTelling, arms, depths, ...counts }: RetrievalResult) {
  const { texts, tokens, longest, lines, values } = counts;
  return {
    ...{ texts, tokens, longest_text: longest, lines, values, is_telling: isTelling },
    arms: arms.map(({ name, found, foundShare, kept, nats, extraNats }) => ({
      ...{ name, found, nats },
      found_share: intervalRecord(foundShare),
      kept_share: intervalRecord(kept),
      extra_nats: intervalRecord(extraNats),
    })),
    depths: depths.map(({ first, end, values, found, nats }) => ({ first, end, values, found, nats })),
  };
}

function generationRecord({ maxNewTokens, texts, bits16, fp8 }: GenerationResult) {
  return {
    max_new_tokens: maxNewTokens,
    texts: texts.map((text) => ({
      prompt: text.prompt,
      parts_at: text.partsAt ?? null,
      bits_16: continuationRecord(text.bits16),
      fp8: continuationRecord(text.fp8),
    })),
    caches: { bits_16: measuredCacheRecord(bits16), fp8: measuredCacheRecord(fp8) },
  };
}

function continuationRecord({ text, tokenIds, endedBy }: Continuation) {
  return { text, token_ids: tokenIds, ended_by: endedBy };
}

function measuredCacheRecord(cache: MeasuredCache) {
  const { arm, description, bytesPerToken, bytesPerTokenByLayer, tokensPerSecond, timesPrompts } = cache;
  return {
    arm,
    description,
    stored_as: storedAs([cache]),
    bytes_per_token: bytesPerToken,
    bytes_per_token_by_layer: bytesPerTokenByLayer,
    tokens_per_second: Number(tokensPerSecond.toFixed(3)),
    time_includes_prompts: timesPrompts,
  };
}
