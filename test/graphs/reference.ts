// The same blocks in plain float64 arithmetic, one number at a time: what the graphs are held against. Written from the
// formulas, not from the graphs.

export type Vector = readonly number[];

const dot = (a: Vector, b: Vector) => a.reduce((sum, value, index) => sum + value * (b[index] ?? Number.NaN), 0);

/** y = W x + b, weight rows are outputs. */
export function linearReference(x: Vector, weight: readonly Vector[], bias?: Vector): number[] {
  return weight.map((row, output) => dot(row, x) + (bias?.[output] ?? 0));
}

/** x / √(mean(x²) + ε) · weight */
export function rmsNormReference(x: Vector, weight: Vector, epsilon: number): number[] {
  const root = Math.sqrt(dot(x, x) / x.length + epsilon);
  return x.map((value, index) => (value / root) * (weight[index] ?? Number.NaN));
}

/** The error function by its series and, far out, by its continued fraction. */
function erf(x: number): number {
  if (x < 0) return -erf(-x);
  if (x > 6) return 1;
  if (x > 3) {
    let fraction = 0;
    for (let k = 60; k > 0; k--) fraction = k / 2 / (x + fraction);
    return 1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
  }
  let term = x;
  let sum = x;
  for (let n = 1; n < 100; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

export const ACTIVATION_REFERENCES = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  gelu: (x: number) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu_quick: (x: number) => x / (1 + Math.exp(-1.702 * x)),
  relu: (x: number) => Math.max(x, 0),
  relu2: (x: number) => Math.max(x, 0) ** 2,
} as const;

/** Turns pairs (i, i + half) of a head by position × θ^(−2i / head_dim). */
export function rotateReference(head: Vector, position: number, theta: number): number[] {
  const half = head.length / 2;
  return head.map((value, index) => {
    const pair = index % half;
    const angle = position * theta ** ((-2 * pair) / head.length);
    const other = head[(index + half) % head.length] ?? Number.NaN;
    return value * Math.cos(angle) + (index < half ? -other : other) * Math.sin(angle);
  });
}

/** A list cut into pieces of equal size. */
export function pieces(x: Vector, size: number): number[][] {
  return Array.from({ length: x.length / size }, (_, piece) => x.slice(piece * size, (piece + 1) * size));
}

export interface AttentionReference {
  readonly heads: number;
  readonly kvHeads: number;
  readonly slidingWindow: number | undefined;
}

/** Causal attention of one prompt. @param q [tokens][heads][head_dim], k and v [tokens][kv_heads][head_dim] */
export function attendReference(
  q: readonly (readonly Vector[])[],
  k: readonly (readonly Vector[])[],
  v: readonly (readonly Vector[])[],
  { heads, kvHeads, slidingWindow = Number.POSITIVE_INFINITY }: AttentionReference,
): number[][] {
  return q.map((queries, position) =>
    queries.flatMap((query, head) => {
      const kvHead = Math.floor(head / (heads / kvHeads));
      const seen = k.map((_, other) => other).filter((other) => other <= position && other > position - slidingWindow);
      const scores = seen.map((other) => dot(query, k[other]?.[kvHead] ?? []) / Math.sqrt(query.length));
      const largest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - largest));
      const total = weights.reduce((a, b) => a + b, 0);
      return query.map((_, dimension) =>
        seen.reduce((sum, other, i) => sum + ((weights[i] ?? 0) / total) * (v[other]?.[kvHead]?.[dimension] ?? 0), 0),
      );
    }),
  );
}

/** y[t, c] = bias[c] + Σ weight[c, k] · x[t − (kernel − 1) + k, c]; rows of x are tokens, rows of weight channels. */
export function causalConvolutionReference(x: readonly Vector[], weight: readonly Vector[], bias?: Vector): number[][] {
  return x.map((row, token) =>
    row.map((_, channel) => {
      const taps = weight[channel] ?? [];
      const seen = taps.map((_, tap) => x[token - (taps.length - 1) + tap]?.[channel] ?? 0);
      return dot(taps, seen) + (bias?.[channel] ?? 0);
    }),
  );
}

export interface LinearAttentionReference {
  /** By token. */
  readonly query: readonly Vector[];
  readonly key: readonly Vector[];
  readonly value: readonly Vector[];
  readonly decay: readonly number[];
  /** With it, the delta rule. */
  readonly beta?: readonly number[];
}

/** One head: S = exp(decay) S; S = S + k ⊗ v, or by the delta rule S + k ⊗ beta (v − Sᵀk); scale · Sᵀq. */
export function linearAttentionReference(inputs: LinearAttentionReference, scale: number): number[][] {
  const { query, key, value, decay, beta } = inputs;
  let state: Vector[] = (key[0] ?? []).map(() => (value[0] ?? []).map(() => 0));
  const read = (x: Vector) =>
    (value[0] ?? []).map((_, column) =>
      dot(
        state.map((row) => row[column] ?? Number.NaN),
        x,
      ),
    );
  return query.map((q, token) => {
    const [k = [], v = []] = [key[token], value[token]];
    state = state.map((row) => row.map((number) => number * Math.exp(decay[token] ?? Number.NaN)));
    const known = read(k);
    const added =
      beta === undefined
        ? v
        : v.map((number, at) => (beta[token] ?? Number.NaN) * (number - (known[at] ?? Number.NaN)));
    state = state.map((row, at) =>
      row.map((number, column) => number + (k[at] ?? Number.NaN) * (added[column] ?? Number.NaN)),
    );
    return read(q).map((number) => scale * number);
  });
}
