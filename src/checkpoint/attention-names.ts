// Finds the attention of each decoder layer by tensor names alone, so that checkpoints of any architecture, quantised ones
// too, can be looked at. Knows no model_type.

/** A projection that makes keys, alone or with its neighbours, in whatever form its weight is stored. */
const KEY_PROJECTION = /^(?<attention>.+)\.(k_proj|qkv_proj|query_key_value|c_attn|Wqkv|kv_b_proj)\.[\w.]+$/;
const LAYER = /(?:^|\.)(?:layers|h|blocks|block)\.(\d+)(?=\.)/;
/** Towers of multimodal models have attention, but no KV cache. */
const NOT_A_DECODER = /(^|[._])(vision|visual|image|audio|speech|encoder|vit)([._]|$)/;

/** The number in a tensor's name that says which layer it belongs to. */
export function layerOf(name: string): number | undefined {
  const number = LAYER.exec(name)?.[1];
  return number === undefined ? undefined : Number(number);
}

/**
 * The attention's name in each decoder layer that has one, by layer: `model.layers.3.self_attn` of
 * `model.layers.3.self_attn.k_proj.weight`. When a checkpoint has several stacks, the tallest one that is no tower.
 */
export function attentionNames(tensorNames: Iterable<string>): ReadonlyMap<number, string> {
  const stacks = new Map<string, Map<number, string>>();
  for (const name of tensorNames) {
    const attention = KEY_PROJECTION.exec(name)?.groups?.attention;
    const layer = layerOf(name);
    if (attention === undefined || layer === undefined || NOT_A_DECODER.test(attention)) continue;
    const pattern = attention.replace(LAYER, ".#");
    const stack = stacks.get(pattern) ?? new Map<number, string>();
    stacks.set(pattern, stack.set(layer, attention));
  }
  const [tallest] = [...stacks.values()].sort((a, b) => b.size - a.size);
  return new Map([...(tallest ?? [])].sort(([a], [b]) => a - b));
}
