// What TGI does with the scales of a checkpoint: by its documented format, and by its loader since version 2.4, as read in
// its source. Touches no file.

import { sayElements } from "./engine-scales.js";
import {
  type EngineVerdict,
  elementsOf,
  type FoundScales,
  ignored,
  loadedWith,
  notKnown,
  refused,
} from "./engine-verdicts.js";
import { isObject } from "./json-text.js";
import type { Quantization } from "./quantization-block.js";
import { scalesByAttention } from "./read-scales.js";
import type { ScaleFacts } from "./scale-facts.js";
import type { ScaleKind } from "./scale-names.js";

/** Loads every top-level file. Reads 0-dim kv_scale for the dtype that config.json names. */
export function judgeDocumentedTgi(facts: ScaleFacts): EngineVerdict {
  const shared = facts.scales.filter(({ kind, form }) => kind === "kv_scale" && form === "attention");
  if (facts.duplicate) return refused(sayDuplicate(facts.duplicate));
  const wrong = shared.find(({ shape }) => shape.length > 0);
  if (wrong) return refused(`"${wrong.name}" has shape [${wrong.shape.join(", ")}] instead of no dimension`);
  if (shared.length === 0 && facts.scales.length > 0) return ignored(facts, "it reads kv_scale, and there is none");
  if (shared.length > 0 && facts.hasLatentCache) return latent();
  if (shared.length > 0 && typeof facts.kvCacheDtype !== "string") {
    return ignored(facts, "config.json lacks kv_cache_torch_dtype, which says what the scales are for");
  }
  const scalesOf = scalesByAttention(shared);
  return loadedWith(facts, (attention) => {
    const [scale] = scalesOf(attention);
    return { k: scale, v: scale };
  });
}

/** Loads every top-level file. Reads a layer's k_scale with its v_scale, else its kv_scale. */
export function judgeTgi(facts: ScaleFacts): EngineVerdict {
  if (facts.duplicate) return refused(sayDuplicate(facts.duplicate));
  const refusal = blockRefused(facts.quantization);
  if (refusal) return refused(refusal);
  if (facts.scales.length > 0 && facts.hasLatentCache) return latent();
  const scalesOf = scalesByAttention(facts.scales.filter(({ form }) => form === "attention"));
  const read = (attention: string): FoundScales => {
    const find = (kind: ScaleKind) => scalesOf(attention).find((scale) => scale.kind === kind);
    const [k, v, shared] = [find("k_scale"), find("v_scale"), find("kv_scale")];
    return k && v ? { k, v } : { k: shared, v: shared };
  };
  const found = [...facts.attentions.values()].flatMap((name) => Object.values(read(name)));
  const wrong = found.find((scale) => scale !== undefined && elementsOf(scale) !== 1);
  return wrong ? refused(sayElements(wrong, 1)) : loadedWith(facts, read);
}

function latent(): EngineVerdict {
  return notKnown("what it makes of scales of a latent cache (MLA) is not known here");
}

function sayDuplicate({ name, files }: NonNullable<ScaleFacts["duplicate"]>): string {
  return `it loads every .safetensors file, and "${name}" is in ${files.join(" and in ")}`;
}

/** Why TGI 3 refuses a compressed-tensors block for 16-bit weights; undefined when it does not. */
function blockRefused(quantization: Quantization | undefined): string | undefined {
  if (quantization?.method !== "compressed-tensors") return undefined;
  const { config_groups: groups, quantization_status: status, ignore } = quantization.block;
  if (!isObject(groups)) return "the compressed-tensors block has no config_groups";
  if (status !== "frozen" && status !== "compressed") {
    return 'the quantization_status of the compressed-tensors block is neither "frozen" nor "compressed"';
  }
  const leavesLinearAlone = Array.isArray(ignore) && ignore.includes("Linear");
  if (leavesLinearAlone || Object.keys(groups).length > 0) return undefined;
  return 'the compressed-tensors block has no group for linear layers and does not ignore "Linear"';
}
