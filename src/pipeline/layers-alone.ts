// FP8 in some layers alone: what each costs by itself, and what the model costs with the costliest in 16 bits. Decides
// nothing.

import type { CacheSite } from "../architectures/cache-sites.js";
import type { ArmMetrics } from "../metrics/arm-metrics.js";
import type { WindowPlace } from "../metrics/block-mean.js";
import { judgedRetrieval } from "../metrics/retrieval-metrics.js";
import type { JudgedArm } from "../metrics/thresholds.js";
import { layerList } from "../numerics/layer-names.js";
import type { CacheEvaluator } from "./evaluate-caches.js";
import { describeRetrieval, type PreparedRetrieval } from "./retrieval.js";
import { metricsBeside } from "./verify-arms.js";
import type { ComparedCaches } from "./verify-caches.js";
import type { LayerEffect } from "./verify-result.js";

/** Arms in one pass when every layer is tried alone: each keeps hidden states of its own. */
export const MAX_LAYER_ARMS = 8;

interface LayersRequest {
  readonly evaluator: CacheEvaluator;
  readonly caches: ComparedCaches;
  readonly sites: readonly CacheSite[];
  readonly windows: readonly (readonly number[])[]; // [windows][tokens]
  readonly places: readonly WindowPlace[];
}

/** The cost of FP8 in each layer alone. */
export async function measureLayersAlone(request: LayersRequest): Promise<LayerEffect[]> {
  const { evaluator, caches, sites, windows, places } = request;
  const { subject, rounding } = caches;
  const [uniform, layerEffects] = [baselineRoundings(request), [] as LayerEffect[]];
  for (let first = 0; first < sites.length; first += MAX_LAYER_ARMS) {
    const layers = sites.slice(first, first + MAX_LAYER_ARMS).map(({ layer }) => layer);
    const alone = layers.map((layer) => onlyIn(sites, [layer], rounding.indexOf(subject), uniform));
    const [base, ...others] = await evaluator.evaluate(`${layerList(layers)} alone`, [uniform, ...alone], { windows });
    for (const [index, arm] of others.entries()) {
      const { divergence, perplexityRatio, agreement } = metricsBeside(base, arm, places);
      const effect = { meanKl: divergence.mean.value, perplexityRatio: perplexityRatio.value, agreement };
      layerEffects.push({ layer: layers[index] ?? first, ...effect });
    }
  }
  return layerEffects;
}

/** What the judged cache costs with these layers in 16 bits. */
export async function measureWithLayersIn16Bits(
  request: LayersRequest & { readonly retrieval: PreparedRetrieval | undefined },
  layers: readonly number[],
): Promise<JudgedArm & { readonly layers: readonly number[]; readonly metrics: ArmMetrics }> {
  const { evaluator, caches, sites, windows, places, retrieval } = request;
  const { subject, rounding, ordered } = caches;
  const uniform = baselineRoundings(request);
  const subjectRoundings = sites.map(() => rounding.indexOf(subject));
  const arms = [uniform, onlyIn(sites, layers, rounding.indexOf("16-bit"), subjectRoundings)];
  const what = `layers ${layers.join(", ")} in 16 bits`;
  const [base, arm] = await evaluator.evaluate(what, arms, { windows });
  const again =
    retrieval &&
    describeRetrieval(
      retrieval,
      [ordered[0], subject],
      await evaluator.evaluate(`retrieval, ${what}`, arms, retrieval),
    );
  return { layers, metrics: metricsBeside(base, arm, places), retrieval: judgedRetrieval(again, subject) };
}

function baselineRoundings({ caches: { rounding, ordered }, sites }: LayersRequest): number[] {
  return sites.map(() => rounding.indexOf(ordered[0]));
}

/** `roundings` of sites with another rounding in some layers. */
function onlyIn(
  sites: readonly CacheSite[],
  layers: readonly number[],
  rounding: number,
  roundings: readonly number[],
): number[] {
  return roundings.map((other, site) => (layers.includes(sites[site]?.layer ?? -1) ? rounding : other));
}
