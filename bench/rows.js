// The rows of a benchmark: how many prompts, and how long they are. Pure.

/**
 * @typedef {object} Row
 * @property {number} prompts
 * @property {number} tokens of each prompt, or of the longest
 * @property {number} [shortest] tokens of the shortest; absent: all are equally long
 */

const ROW = /^([1-9]\d*)x(?:([1-9]\d*)-)?([1-9]\d*)$/;

/** Rows such as "128x512,64x32-256"; undefined where one is none. @param {string} text @returns {Row[] | undefined} */
export function rowsIn(text) {
  const rows = text.split(",").map((row) => rowIn(row.trim()));
  return rows.every((row) => row !== undefined) ? rows : undefined;
}

/** @param {string} text @returns {Row | undefined} */
function rowIn(text) {
  const [, prompts, shortest, tokens] = ROW.exec(text) ?? [];
  if (prompts === undefined || tokens === undefined) return undefined;
  const row = { prompts: Number(prompts), tokens: Number(tokens) };
  if (shortest === undefined) return row;
  return Number(shortest) < row.tokens && row.prompts > 1 ? { ...row, shortest: Number(shortest) } : undefined;
}

/** Tokens of each prompt: evenly from the shortest to the longest, and not in that order. @param {Row} row */
export function lengthsOf({ prompts, tokens, shortest = tokens }) {
  const lengths = Array.from({ length: prompts }, (_, index) =>
    Math.round(shortest + ((tokens - shortest) * index) / Math.max(1, prompts - 1)),
  );
  const half = Math.ceil(prompts / 2);
  return lengths.map((_, index) => lengths[index % 2 === 0 ? index / 2 : half + (index - 1) / 2] ?? tokens);
}

/** All tokens of a row. @param {Row} row */
export function tokensOf(row) {
  return lengthsOf(row).reduce((sum, length) => sum + length, 0);
}

/** Such as "64 × 32–256". @param {Row} row */
export function rowText({ prompts, tokens, shortest }) {
  return `${prompts} × ${shortest === undefined ? "" : `${shortest}–`}${tokens}`;
}
