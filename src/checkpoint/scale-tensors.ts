// Which tensors are scales of a KV cache, by their names. Knows every name that engines read, not what it stands for.

import type { SafetensorsHeader } from "./safetensors-header.js";

/** Whether engines would read the tensor as a scale of the KV cache. */
export function isScaleName(name: string): boolean {
  return /\.(kv_scale|k_scale|v_scale)$/.test(name);
}

/** Whether a file has scales and nothing else, as those of this program do. */
export function holdsOnlyScales({ tensors }: SafetensorsHeader): boolean {
  return tensors.length > 0 && tensors.every(({ name }) => isScaleName(name));
}
