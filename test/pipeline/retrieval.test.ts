// Retrieval held against Python: tokens and places of the values by the tokenizers library, their likelihood by
// transformers with a cache that rounds (test/golden/retrieval.json). And texts that fit, with any tokenizer.

import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import type { Decoder } from "../../src/architectures/description.js";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, ProviderError, UnsupportedModelError, UsageError } from "../../src/errors.js";
import { FLOAT32_ARITHMETIC } from "../../src/graphs/arithmetic.js";
import type { CacheRounding, Side } from "../../src/graphs/kv-cache.js";
import { FLOAT8_CODES, type Float8CodeName } from "../../src/numerics/float8.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import type { PromptEncoder } from "../../src/pipeline/encode-prompts.js";
import { encodeRetrieval } from "../../src/pipeline/encode-retrieval.js";
import { evaluateArms } from "../../src/pipeline/evaluate-arms.js";
import { describeRetrieval, prepareRetrieval } from "../../src/pipeline/retrieval.js";
import { bytesOfTexts, longestThatFits, type TextRoom } from "../../src/pipeline/retrieval-memory.js";
import type { ArmName } from "../../src/pipeline/verify-result.js";
import { DEPTHS, depthOf } from "../../src/prompts/retrieval-text.js";
import { readGolden } from "../helpers/golden-checkpoints.js";
import { localTokenizer } from "../helpers/local-tokenizer.js";

interface Golden {
  readonly folder: string;
  readonly request: { readonly tokens: number; readonly values: number; readonly seed: number };
  readonly texts: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly values: readonly { readonly said: readonly number[]; readonly first: number; readonly tokens: number }[];
  }[];
  readonly arms: Readonly<
    Record<
      "exact" | "16-bit" | "e4m3fn" | "e5m2",
      {
        readonly format: "float32" | "bfloat16" | Float8CodeName;
        readonly scales?: Readonly<Record<Side, readonly number[]>>;
        readonly nats: readonly number[];
        readonly found: readonly boolean[];
      }
    >
  >;
}

const GOLDEN = readGolden<Golden>("retrieval.json");
const FOLDER = fileURLToPath(new URL(`../../${GOLDEN.folder}`, import.meta.url));
const ALL = 2 ** 31;

let tokenizer: Awaited<ReturnType<typeof localTokenizer>>;
let checkpoint: Checkpoint;
beforeAll(async () => {
  tokenizer = await localTokenizer(FOLDER);
  checkpoint = await openCheckpoint(FOLDER);
});

describe("against Python", () => {
  test("tokens, the places of values and their depths are the same", async () => {
    const windows = await encodeRetrieval(GOLDEN.request, tokenizer, ALL);
    expect(windows.map(({ ids }) => ids)).toEqual(GOLDEN.texts.map(({ ids }) => ids));
    for (const [index, { values, lines }] of windows.entries()) {
      const { text, values: expected } = GOLDEN.texts[index] ?? { text: "", values: [] };
      expect(values.map(({ first, tokens }) => [first + 1, tokens])).toEqual(
        expected.map(({ first, tokens }) => [first, tokens]),
      );
      // A line's number is that of the line breaks before it, less that of the heading.
      const lineOf = (character = 0) => text.slice(0, character).split("\n").length - 2;
      expect(values.map(({ depth }) => depth)).toEqual(expected.map(({ said }) => depthOf(lineOf(said[0]), lines)));
    }
  });

  test("the likelihood of every value is that of transformers under every cache, and so is what is found", async () => {
    const decoder = describeModel(checkpoint.config, checkpoint.tensors);
    const prepared = await prepareRetrieval(
      { tokens: GOLDEN.request.tokens, values: GOLDEN.request.values },
      { checkpoint, decoder, seed: GOLDEN.request.seed, roomFor: roomOf(decoder, 2 ** 40) },
      tokenizer,
    );
    const arms = Object.values(GOLDEN.arms);
    const { arms: evaluated } = await evaluateArms({
      ...{ checkpoint, decoder, windows: prepared.windows, positions: prepared.positions },
      end: describeModelEnd(checkpoint.tensors, decoder),
      plan: planCompute({ provider: "cpu", checkpoint, decoder }),
      roundings: arms.map(roundingOf),
      arms: arms.map((_, rounding) => cacheSites(decoder).map(() => rounding)),
    });
    const names: readonly ArmName[] = ["exact", "16-bit", "fp8", "e5m2"];
    const { arms: found, values, depths } = describeRetrieval(prepared, names, evaluated);
    expect(values).toBe(GOLDEN.request.values);
    for (const [index, expected] of arms.entries()) {
      // Rounding is not continuous: see evaluate-arms.test.ts.
      const tolerance = index === 0 ? 1e-5 : 2e-3;
      const mean = expected.nats.reduce((sum, nats) => sum + nats, 0) / values;
      expect(Math.abs((found[index]?.nats ?? Number.NaN) / mean - 1)).toBeLessThan(tolerance);
      expect(found[index]?.found).toBe(expected.found.filter((isFound) => isFound).length);
    }
    expect(depths.map((depth) => depth.values)).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
  });
});

function roundingOf({ format, scales }: Golden["arms"]["exact"]): CacheRounding {
  if (format === "float32" || format === "bfloat16") return { elementType: format, largest: Number.MAX_VALUE };
  return { elementType: format, largest: FLOAT8_CODES[format].largest, ...(scales !== undefined && { scales }) };
}

/** A tokenizer of one token per character, with special tokens around, or what `join` makes of its tokens. */
function tokenizerOf(join: (ids: readonly number[]) => readonly number[]): PromptEncoder {
  return {
    async encode(prompts, _request, onEncoded) {
      for (const prompt of prompts) {
        const text = "text" in prompt ? prompt.text : "";
        const ids = join(Array.from(text, (character) => character.codePointAt(0) ?? 0));
        onEncoded({ text, ids, length: ids.length, largestId: Math.max(0, ...ids) }, prompt);
      }
    },
  };
}

describe("texts", () => {
  test.each([
    [300, 8],
    [700, 20],
    [1900, 96],
  ])("have at most %d tokens, nearly as many, and ask for %d values together", async (tokens, values) => {
    const windows = await encodeRetrieval({ tokens, values, seed: 1 }, tokenizer, ALL);
    const lengths = windows.map(({ ids }) => ids.length);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(tokens);
    expect(Math.min(...lengths)).toBeGreaterThan(tokens - 60);
    const asked = windows.flatMap((window) => window.values);
    expect(asked).toHaveLength(values);
    const counts = Array.from({ length: DEPTHS }, (_, depth) => asked.filter((value) => value.depth === depth).length);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  });

  test("are the same for the same seed, and others for another", async () => {
    const idsOf = async (seed: number) =>
      (await encodeRetrieval({ tokens: 300, values: 8, seed }, tokenizer, ALL))[0]?.ids;
    expect(await idsOf(1)).toEqual(await idsOf(1));
    expect(await idsOf(1)).not.toEqual(await idsOf(2));
  });

  test("may have special tokens at both ends: values are found between them", async () => {
    const around = tokenizerOf((ids) => [1, ...ids, 2]);
    const [{ ids, values } = { ids: [], values: [] }] = await encodeRetrieval(
      { tokens: 700, values: 8, seed: 1 },
      around,
      ALL,
    );
    expect(values.length).toBeGreaterThan(0);
    for (const { first, tokens } of values) {
      expect(String.fromCodePoint(...ids.slice(first + 1, first + 1 + tokens))).toMatch(/^ \d{4}$/);
    }
  });

  test("of a tokenizer that joins a value with what follows are refused", async () => {
    // The last digit and the line break are one token.
    const joining = tokenizerOf((ids) =>
      ids.flatMap((id, index) =>
        id === 10 && index > 20 ? [] : ids[index + 1] === 10 && index > 20 ? [1000 + id] : [id],
      ),
    );
    await expect(encodeRetrieval({ tokens: 700, values: 8, seed: 1 }, joining, ALL)).rejects.toThrow(
      UnsupportedModelError,
    );
  });

  test("of a tokenizer for another vocabulary are refused", async () => {
    await expect(encodeRetrieval({ tokens: 300, values: 8, seed: 1 }, tokenizer, 3)).rejects.toThrow(CheckpointError);
  });

  test("without room for a question are refused, with the tokens that it takes", async () => {
    await expect(encodeRetrieval({ tokens: 60, values: 8, seed: 1 }, tokenizer, ALL)).rejects.toThrow(
      /--retrieval-tokens: 60 tokens have no room .* give at least \d+/,
    );
  });
});

test("no text is longer than the model's positions", async () => {
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const facts = { checkpoint, decoder, seed: 0, roomFor: roomOf(decoder, 2 ** 40) };
  await expect(prepareRetrieval({ tokens: 4096 }, facts, tokenizer)).rejects.toThrow(UsageError);
  await expect(prepareRetrieval({ tokens: 4096 }, facts, tokenizer)).rejects.toThrow(
    /expected at most 2048, the positions of .*config\.json/,
  );
});

/** A processor with so many free bytes, for five caches. */
function roomOf(decoder: Decoder, free: number, changes: Partial<TextRoom> = {}): () => Promise<TextRoom> {
  return async () => ({
    ...{ decoder, provider: "cpu", arithmetic: FLOAT32_ARITHMETIC, caches: 5, processes: 1 },
    ...{ free, freeOnDevice: undefined, ...changes },
  });
}

describe("memory", () => {
  const decoderOf = () => describeModel(checkpoint.config, checkpoint.tensors);

  test("for texts: hidden states of every cache, activations and scores of one text in a layer", () => {
    // Of the example: 128 hidden, 448 in between, 4 heads of 32. Five caches, float32.
    const room = { decoder: decoderOf(), arithmetic: FLOAT32_ARITHMETIC, caches: 5 };
    const scores = (tokens: number, rows: number) => 2 * 4 * 4 * tokens * rows;
    const activations = 2 * 4 * (3 * 448 + 4 * 128) + 32 * 1024;
    expect(bytesOfTexts(room, 3000, 1000)).toEqual({
      states: 5 * 4000 * 128 * 4,
      inside: 1000 * activations + scores(1000, 256),
    });
    // Up to 512 tokens the scores are a square; beyond 8,192 they are tiles.
    expect(bytesOfTexts(room, 400, 400).inside).toBe(400 * activations + scores(400, 400));
    expect(bytesOfTexts(room, 10_000, 10_000).inside).toBe(10_000 * activations);
    const unfused = { ...room, arithmetic: { ...FLOAT32_ARITHMETIC, attention: "written-out" as const } };
    expect(bytesOfTexts(unfused, 1000, 1000).inside).toBe(1000 * activations + 3 * 4 * 4 * 1000 * 1000);
  });

  test("bounds the length where none was asked for, and a warning says so", async () => {
    const decoder = decoderOf();
    const needed = async (tokens: number) => {
      const { states, inside } = bytesOfTexts(await roomOf(decoder, 0)(), tokens, tokens);
      return 512 * 2 ** 20 + states + inside;
    };
    const facts = { checkpoint, decoder, seed: 0 };
    const short = await prepareRetrieval(
      { values: 8 },
      { ...facts, roomFor: roomOf(decoder, await needed(1100)) },
      tokenizer,
    );
    expect(short.warnings).toEqual(["Memory is short: texts for --retrieval have 1,024 tokens instead of 2,048."]);
    expect(short.windows.map(({ length }) => length).every((length) => length <= 1024)).toBe(true);
    const enough = await prepareRetrieval(
      { values: 8 },
      { ...facts, roomFor: roomOf(decoder, await needed(2048)) },
      tokenizer,
    );
    expect(enough.warnings).toEqual([]);
    expect(Math.max(...enough.windows.map(({ length }) => length))).toBeGreaterThan(1900);
  });

  test("refuses a length that was asked for and does not fit, with what is needed, what there is and what would fit", async () => {
    const decoder = decoderOf();
    const ask = (free: number, changes?: Partial<TextRoom>) =>
      prepareRetrieval(
        { tokens: 2000, values: 8 },
        { checkpoint, decoder, seed: 0, roomFor: roomOf(decoder, free, changes) },
        tokenizer,
      );
    const free = 570 * 2 ** 20;
    await expect(ask(free)).rejects.toThrow(ProviderError);
    await expect(ask(free)).rejects.toThrow(
      /^--retrieval: texts of up to 1,9\d\d tokens need about \d\d\d\.\d MiB in a layer and 9\.\d MiB for hidden states of 5 caches, and 512\.0 MiB for the program; 570\.0 MiB are free\. Write --retrieval-tokens \d+ or less, compare fewer caches \(--arms\), or free memory\.$/,
    );
    await expect(ask(2 ** 20)).rejects.toThrow(/Leave out --retrieval/);
    await expect(ask(2 ** 40)).resolves.toBeDefined();
    // Four processes hold a text each.
    const room = { ...(await roomOf(decoder, 700 * 2 ** 20)()), processes: 1 };
    expect(longestThatFits({ ...room, processes: 4 }, 8192)).toBeLessThan(longestThatFits(room, 8192));
  });

  test("of a device holds what is in a layer, and no buffer is larger than it allows", async () => {
    const onDevice = { provider: "cuda", freeOnDevice: 2 ** 20 } as const;
    const room = await roomOf(decoderOf(), 2 ** 40, onDevice)();
    expect(longestThatFits(room, 8192)).toBe(0);
    expect(longestThatFits({ ...room, freeOnDevice: undefined }, 8192)).toBe(8192);
    // 64 MiB hold 37,449 tokens of 448 numbers.
    expect(longestThatFits({ ...room, provider: "webgpu", freeOnDevice: undefined }, 65_536)).toBe(37_376);
  });
});
