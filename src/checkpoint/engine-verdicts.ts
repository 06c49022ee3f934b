// Verdicts on what an engine does with the scales of a checkpoint, and their sentences. Knows no engine.

import { layerList } from "../numerics/layer-names.js";
import type { Quantization } from "./quantization-block.js";
import type { ScaleTensor } from "./read-scales.js";
import type { ScaleFacts } from "./scale-facts.js";

/** "none": there are no scales. "unknown": we do not know what the engine does. */
export type ScaleUse = "used" | "ignored" | "refused" | "none" | "unknown";

/** The divisor of a layer's K or V. Undefined: a value that was not read, or uninitialized memory. */
export type SideScale = number | undefined;

/**
 * The fate of scales on AMD MI300, whose E4M3FNUZ has half the range of E4M3FN: doubled, they fit; unchanged, values
 * beyond half of their range saturate or overflow.
 */
export type OnFnuz = "doubled" | "as-they-are";

export interface EngineVerdict {
  readonly use: ScaleUse;
  /** A clause without a full stop. */
  readonly why: string;
  /** Absent when it is not known, or no scale is used. */
  readonly onFnuz?: OnFnuz;
  /** The scales that an FP8 cache runs with, by layer; absent when the engine refuses or it is not known. */
  readonly layers?: ReadonlyMap<number, { readonly k: SideScale; readonly v: SideScale }>;
}

/** The scale tensors of a layer's K and V; absent where the engine finds none. */
export interface FoundScales {
  readonly k: ScaleTensor | undefined;
  readonly v: ScaleTensor | undefined;
}

/** The value of a missing scale: 1.0, or uninitialized memory. */
export type Otherwise = 1 | "unwritten";

/** The verdict on a checkpoint that the engine loads. @param read what the engine finds for an attention */
export function loadedWith(
  facts: ScaleFacts,
  read: (attention: string) => FoundScales,
  otherwise: Otherwise = 1,
): EngineVerdict {
  const found = [...facts.attentions].map(([layer, attention]) => ({ layer, ...read(attention) }));
  const names = new Set(found.flatMap(({ k, v }) => [k, v].flatMap((scale) => (scale ? partName(scale) : []))));
  if (names.size === 0) return unscaled(facts, otherwise);
  const scaleOf = (scale: ScaleTensor | undefined): SideScale => {
    if (scale === undefined) return otherwise === 1 ? 1 : undefined;
    return scale.values && Math.max(...scale.values);
  };
  const why = [
    `reads ${[...names].sort().join(" and ")}`,
    ...gaps(found, otherwise),
    ...(found.some(({ k, v }) => isUnsound(k) || isUnsound(v)) ? ["some are not finite and positive"] : []),
  ];
  return {
    use: "used",
    why: why.join("; "),
    layers: new Map(found.map(({ layer, k, v }) => [layer, { k: scaleOf(k), v: scaleOf(v) }])),
  };
}

/** The tensor's name within its attention, such as `k_scale` or `k_proj.output_scale`. */
function partName({ name, kind, form, attention }: ScaleTensor): string {
  return form === "attention" ? kind : name.slice(attention.length + 1);
}

/** Where scales are missing, in words. */
function gaps(found: readonly ({ readonly layer: number } & FoundScales)[], otherwise: Otherwise): string[] {
  const kinds = [
    ["K and V", found.filter(({ k, v }) => !k && !v)],
    ["K", found.filter(({ k, v }) => !k && v)],
    ["V", found.filter(({ k, v }) => k && !v)],
  ] as const;
  return kinds.flatMap(([sides, layers]) => {
    if (layers.length === 0) return [];
    const where = layers.length === found.length ? "every layer" : layerList(layers.map(({ layer }) => layer));
    return `${sides} of ${where} ${otherwise === 1 ? "at 1.0 without an error" : "with uninitialized memory"}`;
  });
}

/** The engine loads, and finds no scale. */
export function unscaled(facts: ScaleFacts, otherwise: Otherwise = 1): EngineVerdict {
  const why =
    facts.scales.length > 0
      ? "finds no scale that it reads"
      : otherwise === 1
        ? "there are no scales"
        : "there are no scales, though config.json promises them";
  return ignored(facts, why, otherwise);
}

/** The engine loads and ignores the scales, if there are any. */
export function ignored(facts: ScaleFacts, why: string, otherwise: Otherwise = 1): EngineVerdict {
  const value = otherwise === 1 ? 1 : undefined;
  const layers = new Map([...facts.attentions.keys()].map((layer) => [layer, { k: value, v: value }]));
  const consequence = otherwise === 1 ? "an FP8 cache runs at 1.0" : "scales are uninitialized memory";
  return { use: facts.scales.length === 0 ? "none" : "ignored", why: `${why}: ${consequence}`, layers };
}

export function refused(why: string): EngineVerdict {
  return { use: "refused", why };
}

/** For quantized weights, where the engine's handling of scales is not known. */
export function unknown({ method }: Quantization): EngineVerdict {
  return notKnown(`what it makes of scales beside weights quantized by "${method}" is not known here`);
}

/** For cases without a known rule. */
export function notKnown(why: string): EngineVerdict {
  return { use: "unknown", why };
}

/** The verdict with the fate of used scales in an E4M3FNUZ cache. */
export function withFnuz(verdict: EngineVerdict, onFnuz: OnFnuz): EngineVerdict {
  return verdict.use === "used" ? { ...verdict, onFnuz } : verdict;
}

export function elementsOf({ shape }: ScaleTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Whether every value is finite and positive. False for values that were not read. */
export function isSound({ values }: ScaleTensor): boolean {
  return values?.every((value) => Number.isFinite(value) && value > 0) ?? false;
}

function isUnsound(scale: ScaleTensor | undefined): boolean {
  return scale?.values !== undefined && !isSound(scale);
}
