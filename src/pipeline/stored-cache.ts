// The KV cache between the steps of a generation: codes of one or two bytes, and nothing else of K and V. The only
// place that stores or reads a cache; the steps know it only as inputs and outputs.

import type { CacheSite } from "../architectures/cache-sites.js";
import { type CodedRounding, DECODE_VALUES } from "../graphs/decode-step.js";
import { type Side, scaleAt } from "../graphs/kv-cache.js";
import { type CodeType, codeTypeOf, encodeNumber } from "../numerics/cache-codes.js";
import type { NamedTensors, TensorData } from "../runtime/session.js";

const SIDES = ["k", "v"] as const;

type Codes = Uint8Array | Uint16Array;

interface StoredSide {
  readonly codes: Codes; // [capacity, kv_heads × key_dim or value_dim]
  readonly width: number;
  readonly scale: number;
}

/** The cache with that number. */
export function requireCache(caches: readonly CodedRounding[], number: number): CodedRounding {
  const cache = caches[number];
  if (cache === undefined) throw new RangeError(`no cache ${number} among ${caches.length}`);
  return cache;
}

/** The cache of one sequence. */
export class StoredCache {
  readonly #caches: readonly CodedRounding[];
  readonly #chosen: number;
  readonly #rounding: CodedRounding;
  readonly #layers: ReadonlyMap<number, Readonly<Record<Side, StoredSide>>>;
  #tokens = 0;

  /**
   * @param caches that a step's graph can read
   * @param chosen which of them this is
   * @param capacity largest number of tokens that will be stored
   */
  constructor(caches: readonly CodedRounding[], chosen: number, sites: readonly CacheSite[], capacity: number) {
    const rounding = requireCache(caches, chosen);
    this.#caches = caches;
    this.#chosen = chosen;
    this.#rounding = rounding;
    const sideOf = ({ layer, kvHeads, keyDim, valueDim }: CacheSite, side: Side): StoredSide => {
      const width = kvHeads * (side === "k" ? keyDim : valueDim);
      const codes = newCodes(codeTypeOf(rounding.elementType), capacity * width);
      return { codes, width, scale: scaleAt(rounding, { layer, side }) };
    };
    this.#layers = new Map(sites.map((site) => [site.layer, { k: sideOf(site, "k"), v: sideOf(site, "v") }]));
  }

  /** Tokens whose K and V are stored. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Bytes of the stored codes of K and V together, by layer. */
  bytesByLayer(): number[] {
    return [...this.#layers.values()].map(({ k, v }) => this.#stored(k).byteLength + this.#stored(v).byteLength);
  }

  /** The past of these layers, as inputs of a step's graph. */
  inputs(layers: readonly number[]): NamedTensors {
    const tensors: Record<string, TensorData> = {
      [DECODE_VALUES.choice]: { type: "int32", data: Int32Array.of(this.#chosen), shape: [1] },
    };
    for (const layer of layers) {
      for (const side of SIDES) {
        const stored = this.#sideOf(layer, side);
        for (const [cache, { elementType }] of this.#caches.entries()) {
          const codes = cache === this.#chosen ? this.#stored(stored) : newCodes(codeTypeOf(elementType), 0);
          tensors[DECODE_VALUES.past(cache, side, layer)] = tensorOf(codes, stored.width);
        }
      }
    }
    return tensors;
  }

  /** Encodes and stores K and V of a step's new tokens in these layers; `advance` makes them part of the past. */
  store(layers: readonly number[], outputs: Readonly<Record<string, Float32Array>>): void {
    const { elementType } = this.#rounding;
    for (const layer of layers) {
      for (const side of SIDES) {
        const { codes, width, scale } = this.#sideOf(layer, side);
        const kept = outputs[DECODE_VALUES.kept(side, layer)] ?? new Float32Array();
        const start = this.#tokens * width;
        if (start + kept.length > codes.length) throw new RangeError(`the cache of layer ${layer} is full`);
        for (const [index, number] of kept.entries()) codes[start + index] = encodeNumber(elementType, number / scale);
      }
    }
  }

  advance(tokens: number): void {
    this.#tokens += tokens;
  }

  #stored({ codes, width }: StoredSide): Codes {
    return codes.subarray(0, this.#tokens * width);
  }

  #sideOf(layer: number, side: Side): StoredSide {
    const sides = this.#layers.get(layer);
    if (sides === undefined) throw new RangeError(`no cache for layer ${layer}`);
    return sides[side];
  }
}

function newCodes(type: CodeType, count: number): Codes {
  return type === "uint8" ? new Uint8Array(count) : new Uint16Array(count);
}

function tensorOf(data: Codes, width: number): TensorData {
  const shape = [1, data.length / width, width];
  return data instanceof Uint8Array ? { type: "uint8", data, shape } : { type: "uint16", data, shape };
}
