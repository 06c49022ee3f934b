// How well counting tokens predicts a text: a language model that is not better is broken. Knows no language model.

/** Initial count of each token. Small, because most of a vocabulary never occurs. */
const ALPHA = 0.01;

/**
 * Negative log-likelihood, in nats, of each token of a text given the counts of the tokens before it, with additive
 * smoothing: (count + α) / (tokens before + α · vocabulary size), α = 0.01. Counts are kept from window to window. The
 * first token of each window is counted but not predicted, as for the language model that this is compared with.
 * @param windows token ids
 * @returns [positions], all windows joined
 */
export function countModelNll(windows: readonly (readonly number[])[], vocabularySize: number): Float64Array {
  const counts = new Map<number, number>();
  const predicted: number[] = [];
  let seen = 0;
  for (const window of windows) {
    for (const [position, token] of window.entries()) {
      const count = counts.get(token) ?? 0;
      if (position > 0) predicted.push(-Math.log((count + ALPHA) / (seen + ALPHA * vocabularySize)));
      counts.set(token, count + 1);
      seen++;
    }
  }
  return Float64Array.from(predicted);
}
