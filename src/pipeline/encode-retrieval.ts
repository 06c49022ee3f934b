// From a number of tokens to texts that ask for what they said, as token ids, with the positions that predict the asked
// values. Any tokenizer will do that gives a text's beginning the same tokens as the whole; others are refused.

import { UnsupportedModelError, UsageError } from "../errors.js";
import {
  LINES_PER_VALUE,
  MOST_LINES,
  makeRetrievalText,
  type RetrievalText,
  type RetrievalTextRequest,
} from "../prompts/retrieval-text.js";
import { type PromptEncoder, requireKnownId } from "./encode-prompts.js";

export interface RetrievalWindow {
  readonly ids: readonly number[];
  readonly lines: number;
  /** In the order of the text. */
  readonly values: readonly EncodedValue[];
}

export interface EncodedValue {
  /** Part of the register that says it: see DEPTHS. */
  readonly depth: number;
  /** Positions that predict the value's tokens, one after the other. */
  readonly first: number;
  readonly tokens: number;
}

export interface RetrievalRequest {
  /** Of a text at most. */
  readonly tokens: number;
  /** Values to ask for, in all texts together. */
  readonly values: number;
  readonly seed: number;
}

/** Lines that are encoded to see how many tokens a line takes. */
const TRIED_LINES = 128;
/** How often a text that is too long is made anew with fewer lines. */
const MOST_TRIES = 20;

/**
 * Makes and encodes as many texts as it takes to ask for all values.
 * @throws UsageError when a text of so many tokens has no room, UnsupportedModelError for a tokenizer whose tokens do
 * not end where values do
 */
export async function encodeRetrieval(
  { tokens, values, seed }: RetrievalRequest,
  tokenizer: PromptEncoder,
  vocabularySize: number,
): Promise<RetrievalWindow[]> {
  const encode = (texts: readonly string[]) => encodeTexts(texts, tokenizer, vocabularySize);
  const [tried, none] = await encode([triedText(seed, TRIED_LINES), triedText(seed, 1)]);
  const perLine = ((tried?.length ?? 0) - (none?.length ?? 0)) / (TRIED_LINES - 1);
  const room = Math.floor((tokens - (none?.length ?? 0)) / perLine);
  const most = Math.floor(Math.min(room, MOST_LINES) / (LINES_PER_VALUE + 1));
  if (most < 1) {
    const least = Math.ceil((none?.length ?? 0) + (LINES_PER_VALUE + 2) * perLine);
    throw new UsageError(
      `--retrieval-tokens: ${tokens} tokens have no room for ${LINES_PER_VALUE} lines and a question: give at least ${least}`,
    );
  }
  const count = Math.ceil(values / most);
  const windows: RetrievalWindow[] = [];
  for (let text = 0, askedBefore = 0; text < count; text++) {
    const asks = Math.floor((values * (text + 1)) / count) - askedBefore;
    const lines = Math.min(room - asks, MOST_LINES);
    windows.push(await encodeThatFits({ seed, text, lines, askedBefore, values: asks }, tokens, perLine, encode));
    askedBefore += asks;
  }
  return windows;
}

type Encode = (texts: readonly string[]) => Promise<readonly (readonly number[])[]>;

function triedText(seed: number, lines: number): string {
  return makeRetrievalText({ seed, text: 0, lines, askedBefore: 0, values: 1 }).text;
}

async function encodeThatFits(
  request: RetrievalTextRequest,
  tokens: number,
  perLine: number,
  encode: Encode,
): Promise<RetrievalWindow> {
  let { lines } = request;
  for (let tries = 0; tries < MOST_TRIES && lines >= request.values; tries++) {
    const made = makeRetrievalText({ ...request, lines });
    const [ids = []] = await encode([made.text]);
    if (ids.length <= tokens) return { ids, lines, values: await placeValues(made, ids, encode) };
    lines -= Math.max(1, Math.ceil((ids.length - tokens) / perLine));
  }
  throw new UsageError(`--retrieval-tokens: no text of at most ${tokens} tokens could be made: give more`);
}

/**
 * Finds the values' tokens: those by which the text up to a value's end is longer than that up to its beginning. Only
 * the end of the text is encoded for that, from the register's last line on.
 */
async function placeValues(made: RetrievalText, ids: readonly number[], encode: Encode): Promise<EncodedValue[]> {
  const { text, lastLine, registerEnd, asked } = made;
  const ends = [registerEnd, ...asked.flatMap(({ start, end }) => [start, end])];
  const [nothing = [], tail = [], ...begun] = await encode([
    "",
    text.slice(lastLine),
    ...ends.map((end) => text.slice(lastLine, end)),
  ]);
  const closing = closingTokens(nothing, tail);
  const lengths = begun.map((beginning) => {
    const length = beginning.length - closing;
    if (!beginning.slice(0, length).every((id, index) => id === tail[index])) throw noValues();
    return length;
  });
  const [register = 0, ...places] = lengths;
  const behind = tail.length - register;
  if (behind > ids.length || !tail.slice(register).every((id, index) => id === ids[ids.length - behind + index])) {
    throw noValues();
  }
  const shift = ids.length - tail.length;
  return asked.map(({ depth }, index) => {
    const [start = 0, end = 0] = places.slice(2 * index, 2 * index + 2);
    if (end <= start || start + shift < 1) throw noValues();
    return { depth, first: start + shift - 1, tokens: end - start };
  });
}

/** How many special tokens end every text: those of an empty one, less those that it begins with. */
function closingTokens(nothing: readonly number[], text: readonly number[]): number {
  for (let closing = 0; closing <= nothing.length; closing++) {
    const opening = nothing.length - closing;
    const begins = nothing.slice(0, opening).every((id, index) => id === text[index]);
    const ends = nothing.slice(opening).every((id, index) => id === text[text.length - closing + index]);
    if (begins && ends) return closing;
  }
  throw noValues();
}

function noValues(): UnsupportedModelError {
  return new UnsupportedModelError(
    "--retrieval: this tokenizer's tokens do not end where a name or a number of the text ends, so that no value can be looked at: leave out --retrieval",
  );
}

async function encodeTexts(
  texts: readonly string[],
  tokenizer: PromptEncoder,
  vocabularySize: number,
): Promise<(readonly number[])[]> {
  const encoded: (readonly number[])[] = [];
  const prompts = texts.map((text) => ({ source: "the text of --retrieval", text }));
  const request = { opensAnswer: false, maxTokens: Number.POSITIVE_INFINITY };
  await tokenizer.encode(prompts, request, ({ ids, largestId }, { source }) => {
    requireKnownId(largestId, source, vocabularySize);
    encoded.push(ids);
  });
  return encoded;
}
