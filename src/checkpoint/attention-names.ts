// Finds the attention of each decoder layer by tensor names, so that checkpoints of any architecture, also quantized
// ones, can be inspected. Reads in config.json which layers have a cache. Knows no model_type.

import { isObject } from "./json-text.js";

/**
 * A projection that makes keys, alone or fused, in any form of its weight; or queries, for layers that read the cache
 * of another layer.
 */
const KEY_PROJECTION = /^(?<attention>.+)\.(k_proj|q_proj|qkv_proj|query_key_value|c_attn|Wqkv|kv_b_proj)\.[\w.]+$/;
/** The number of an attention in a layer that has several, as LongCat's have: `model.layers.3.self_attn.1`. */
const PLACE_IN_LAYER = /(?<=attn)\.(\d+)$/;
const LAYER = /(?:^|\.)(?:layers|h|blocks|block)\.(\d+)(?=\.)/;
/** Towers of multimodal models have attention, but no KV cache; linear attention has projections of keys, and a state. */
const NOT_A_DECODER =
  /(^|[._])(vision|visual|image|video|audio|speech|encoder|vit|perceiver|talker|token2wav|code2wav|linear_attn)([._]|$)/;

/** The layer's number in a tensor's name. */
export function layerOf(name: string): number | undefined {
  const number = LAYER.exec(name)?.[1];
  return number === undefined ? undefined : Number(number);
}

/**
 * The attention's name in each decoder layer that has one, by layer: `model.layers.3.self_attn` of
 * `model.layers.3.self_attn.k_proj.weight`. Of several stacks of layers, the tallest that is not a tower; of a hybrid,
 * only the layers with a K/V cache according to config.json. Where layers have several attentions, each counts as a layer,
 * as engines number their caches.
 */
export function attentionNames(
  tensorNames: Iterable<string>,
  config: Readonly<Record<string, unknown>> = {},
): ReadonlyMap<number, string> {
  const hasCache = cacheLayersOf(decoderConfig(config));
  const stacks = new Map<string, Map<string, number>>();
  for (const name of tensorNames) {
    const attention = KEY_PROJECTION.exec(name)?.groups?.attention;
    const layer = layerOf(name);
    if (attention === undefined || layer === undefined || !hasCache(layer) || NOT_A_DECODER.test(attention)) continue;
    const pattern = attention.replace(LAYER, ".#").replace(PLACE_IN_LAYER, "");
    const stack = stacks.get(pattern) ?? new Map<string, number>();
    stacks.set(pattern, stack.set(attention, layer));
  }
  const [tallest] = [...stacks.values()].sort((a, b) => b.size - a.size);
  return numbered(tallest ?? new Map());
}

/** Attentions by the number of their cache. @param stack layers by attention */
function numbered(stack: ReadonlyMap<string, number>): ReadonlyMap<number, string> {
  const placeOf = (attention: string) => Number(PLACE_IN_LAYER.exec(attention)?.[1] ?? 0);
  const inLayer = 1 + [...stack.keys()].reduce((last, attention) => Math.max(last, placeOf(attention)), 0);
  const numbers = [...stack].map(([attention, layer]) => [inLayer * layer + placeOf(attention), attention] as const);
  return new Map(numbers.sort(([a], [b]) => a - b));
}

/** The same without layers after the last decoder layer of config.json, which predict further tokens. */
export function attentionsByConfig(
  tensorNames: Iterable<string>,
  config: Readonly<Record<string, unknown>>,
): ReadonlyMap<number, string> {
  const count = layerCount(config);
  const isOfDecoder = (name: string) => (layerOf(name) ?? 0) < count;
  return new Map([...attentionNames(tensorNames, config)].filter(([, name]) => isOfDecoder(name)));
}

/** The number of decoder layers by config.json; infinite where it does not say. */
export function layerCount(config: Readonly<Record<string, unknown>>): number {
  const text = decoderConfig(config);
  const counts = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"].map((key) => text[key]);
  return counts.find((count) => typeof count === "number") ?? Number.POSITIVE_INFINITY;
}

/** Keys of a multimodal model's config for its decoder's, or for a part that has it. */
const DECODER_KEYS = ["text_config", "llm_config", "thinker_config"];

/** The decoder's config: in most models the whole config.json. */
export function decoderConfig(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let found = config;
  for (;;) {
    const inner: unknown = DECODER_KEYS.map((key) => found[key]).find(isObject);
    if (!isObject(inner)) return found;
    found = inner;
  }
}

/** Layer types of config.json that keep no K and V. */
const WITHOUT_CACHE = /linear|mamba|conv|recurrent|ssm|gdn|kda|mlp|moe/i;

/** Whether a layer has a K/V cache by config.json; where it does not say, all have one. */
function cacheLayersOf(config: Readonly<Record<string, unknown>>): (layer: number) => boolean {
  const types = config.layer_types ?? config.layers_block_type ?? config.block_types;
  if (Array.isArray(types)) return (layer) => !WITHOUT_CACHE.test(String(types[layer]));
  // MiniMax-Text-01: 1 is softmax attention, 0 linear.
  const kinds = config.attn_type_list;
  if (Array.isArray(kinds)) return (layer) => kinds[layer] !== 0;
  // Nemotron-H: a character per layer, * for attention.
  const pattern = config.hybrid_override_pattern;
  if (typeof pattern === "string") return (layer) => pattern[layer] === "*";
  // Kimi Linear counts from 1.
  const linear = isObject(config.linear_attn_config) ? config.linear_attn_config.kda_layers : undefined;
  if (Array.isArray(linear)) return (layer) => !linear.includes(layer + 1);
  return () => true;
}
