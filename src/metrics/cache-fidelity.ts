// How exactly a cache keeps one side (K or V) of one layer. Pure arithmetic on sums that the graph computed.

/** Sums over all elements of one side of one layer in one arm. */
export interface FidelitySums {
  readonly elements: number;
  /** Σ x² */
  readonly signal: number;
  /** Σ (x − x̂)² */
  readonly noise: number;
  /** Elements with |x / scale| beyond the format's largest value. */
  readonly saturated: number;
  /** Elements that are not zero and became zero. */
  readonly flushed: number;
  readonly absmax: number;
}

export interface Fidelity {
  /** 10 · log10(signal / noise) dB; Infinity when nothing was lost. */
  readonly sqnr: number;
  /** Share of the elements beyond the format's largest value, 0 to 1. */
  readonly saturatedShare: number;
  /** Share of the elements that were not zero and became zero, 0 to 1. */
  readonly flushedShare: number;
  /** Number of elements beyond the format's largest value. */
  readonly saturated: number;
  /** Number of elements of the cache. */
  readonly elements: number;
  /** Largest |x| that entered the cache. */
  readonly absmax: number;
}

/** The figures of a side from its sums. A side without elements lost nothing; NaN stays NaN. */
export function fidelityOf({ elements, signal, noise, saturated, flushed, absmax }: FidelitySums): Fidelity {
  const shareOf = (count: number) => (elements === 0 ? 0 : count / elements);
  return {
    sqnr: noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise),
    saturatedShare: shareOf(saturated),
    flushedShare: shareOf(flushed),
    saturated,
    elements,
    absmax,
  };
}
