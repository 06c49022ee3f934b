// The decision as a table: from what was measured to what is said. And which layers would be kept.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ArmMetrics } from "../../src/metrics/arm-metrics.js";
import { chooseLayersToKeep } from "../../src/metrics/layers-to-keep.js";
import { isNoDifference, outcomeOf } from "../../src/metrics/thresholds.js";
import { decideVerdict, VERIFY_DEFAULTS, type VerdictFacts, type VerdictName } from "../../src/metrics/verdict.js";

interface Figures {
  readonly ratio?: number;
  readonly kl?: number;
  readonly agreement?: number;
  /** Of every interval, on each side. */
  readonly width?: number;
}

const around = (value: number, width: number) => ({ value, low: value - width, high: value + width });

function metricsOf({ ratio = 1.002, kl = 0.005, agreement = 0.98, width = 0.0005 }: Figures = {}): ArmMetrics {
  return {
    perplexity: 12 * ratio,
    perplexityError: 0.1,
    perplexityRatio: around(ratio, width),
    divergence: { mean: around(kl, width), median: kl / 2, p99: kl * 9, max: kl * 20 },
    agreement,
    agreementInterval: around(agreement, width),
  };
}

const GOOD = metricsOf();
const BAD = metricsOf({ kl: 0.5 });
const EXTRA = { value: 0.01, low: 0.009, high: 0.011 };
const NONE = { value: 0.0001, low: -0.0002, high: 0.0004 };

/** Text for which an interval shrinks with the square root of the tokens alone. */
const TEXT = { amount: 10_000, observed: 1e6, observations: 1e6 };

function factsOf(changes: Partial<VerdictFacts> = {}): VerdictFacts {
  const { baselineNll = 2.5, countModelNll = 7 } = changes;
  return {
    text: TEXT,
    gainOverCounting: around(countModelNll - baselineNll, 0),
    subject: { name: "fp8", metrics: GOOD },
    atScale1: undefined,
    noiseFloor: undefined,
    thresholds: { ...VERIFY_DEFAULTS, minAgreement: 0.95 },
    baselineNll: 2.5,
    countModelNll: 7,
    layerEffects: [],
    ...changes,
  };
}

const subject = (metrics: ArmMetrics, name: "fp8" | "fp8-at-1" = "fp8") => ({ subject: { name, metrics } });
const at1 = (metrics: ArmMetrics, extraKl = EXTRA) => ({ atScale1: { metrics, extraKl } });
const retrieving = (value: number, low: number, high: number, values = 80) => ({
  subject: { name: "fp8" as const, metrics: GOOD, retrieval: { kept: { value, low, high }, values } },
  retrievalValues: 96,
});
const kept = (metrics: ArmMetrics) => ({ withLayersIn16Bits: { layers: [3, 7], metrics } });

test.each<[rule: string, name: VerdictName, changes: Partial<VerdictFacts>]>([
  ["within the thresholds, alone", "ship", {}],
  ["within them, and 1.0 is not", "ship", at1(BAD)],
  ["within them, and 1.0 measurably worse", "ship", at1(GOOD)],
  ["within them, and 1.0 within them, too, not measurably worse", "scale-1-does-as-well", at1(GOOD, NONE)],
  ["the same, and 1.0 even better", "scale-1-does-as-well", at1(GOOD, { value: -1, low: -2, high: -0.5 })],
  [
    "measurably worse, by less than 16 bits are noisy",
    "scale-1-does-as-well",
    { ...at1(GOOD), noiseFloor: { perplexityRatio: 1, meanKl: 0.02 } },
  ],
  [
    "worse, by more than 16 bits are noisy",
    "ship",
    { ...at1(GOOD), noiseFloor: { perplexityRatio: 1, meanKl: 0.002 } },
  ],
  ["no scales, and within the thresholds", "ship", subject(GOOD, "fp8-at-1")],
  ["no scales, and beyond them", "too-costly", subject(BAD, "fp8-at-1")],
  ["KL beyond", "too-costly", subject(metricsOf({ kl: 0.0206 }))],
  ["perplexity beyond", "too-costly", subject(metricsOf({ ratio: 1.0106 }))],
  ["agreement beyond", "too-costly", subject(metricsOf({ agreement: 0.949 }))],
  ["KL on both sides of its limit, mostly beyond", "inconclusive", subject(metricsOf({ kl: 0.0204 }))],
  ["KL on both sides of it, mostly within", "inconclusive", subject(metricsOf({ kl: 0.0196 }))],
  ["perplexity on both sides", "inconclusive", subject(metricsOf({ ratio: 1.0096 }))],
  ["agreement on both sides", "inconclusive", subject(metricsOf({ agreement: 0.9503 }))],
  ["one on both sides, another beyond", "too-costly", subject(metricsOf({ kl: 0.0204, ratio: 1.0106 }))],
  ["intervals without an end", "inconclusive", subject(metricsOf({ width: Number.POSITIVE_INFINITY }))],
  ["no scales, and on both sides", "inconclusive", subject(metricsOf({ kl: 0.0204 }), "fp8-at-1")],
  [
    "on both sides, and within with layers in 16 bits",
    "inconclusive",
    { ...subject(metricsOf({ kl: 0.0204 })), ...kept(GOOD) },
  ],
  ["within them, and 1.0 on both sides", "ship", at1(metricsOf({ kl: 0.0204 }), NONE)],
  ["within them, and 1.0 perhaps worse", "ship", at1(GOOD, { value: 0.001, low: -0.004, high: 0.006 })],
  ["within them, and 1.0 worse by too little to matter", "scale-1-does-as-well", at1(GOOD, around(0.0005, 0.0001))],
  [
    "beyond, and on both sides with layers in 16 bits",
    "too-costly",
    { ...subject(BAD), ...kept(metricsOf({ kl: 0.0204 })) },
  ],
  ["a metric that is NaN", "too-costly", subject(metricsOf({ kl: Number.NaN }))],
  ["a perplexity that is infinite", "too-costly", subject(metricsOf({ ratio: Number.POSITIVE_INFINITY }))],
  ["beyond, and within with layers in 16 bits", "keep-layers-in-16-bits", { ...subject(BAD), ...kept(GOOD) }],
  ["beyond with layers in 16 bits, too", "too-costly", { ...subject(BAD), ...kept(BAD) }],
  ["within them with and without layers in 16 bits", "ship", kept(GOOD)],
  ["within them, and nearly all values found", "ship", retrieving(0.99, 0.94, 0.999)],
  ["within them, and values lost", "too-costly", retrieving(0.5, 0.4, 0.6)],
  ["within them, and perhaps values lost", "inconclusive", retrieving(0.95, 0.88, 0.98)],
  ["a baseline as bad as counting", "baseline-broken", { baselineNll: 7 }],
  ["a baseline that is worse", "baseline-broken", { baselineNll: 10.8 }],
  ["a baseline that is NaN", "baseline-broken", { baselineNll: Number.NaN }],
  ["a baseline that is infinite", "baseline-broken", { baselineNll: Infinity, countModelNll: Infinity }],
  ["a baseline that may be worse than counting", "inconclusive", { gainOverCounting: around(0.5, 1) }],
  ["the same, and KL beyond", "inconclusive", { ...subject(BAD), gainOverCounting: around(0.5, 1) }],
])("%s: %s", (_rule, name, changes) => {
  const verdict = decideVerdict(factsOf(changes));
  expect(verdict.name).toBe(name);
  expect(verdict.passed).toBe(name === "ship" || name === "scale-1-does-as-well");
  expect(verdict.reasons.length).toBeGreaterThan(0);
});

test.each([GOOD, BAD])(
  "a model that finds too few values without FP8 is not judged by them, and the verdict says so",
  (metrics) => {
    const asked = decideVerdict(factsOf({ ...subject(metrics), retrievalValues: 96 }));
    const without = decideVerdict(factsOf(subject(metrics)));
    expect(asked).toEqual({
      ...without,
      reasons: [
        ...without.reasons,
        "Retrieval is not judged: without FP8, too, the model finds fewer than 20 % of 96 values.",
      ],
    });
    expect(decideVerdict(factsOf(retrieving(0.99, 0.94, 0.999))).reasons.join()).not.toContain("not judged");
  },
);

test("the limits themselves are allowed", () => {
  const { maxPerplexityIncrease, maxKl, minAgreement, minRetrieval } = VERIFY_DEFAULTS;
  expect([maxPerplexityIncrease, maxKl, minAgreement, minRetrieval]).toEqual([0.01, 0.02, 0.9, 0.9]);
  const exact = { maxPerplexityIncrease: 0.25, maxKl, minAgreement, minRetrieval };
  const metrics = metricsOf({ ratio: 1.25, kl: maxKl, agreement: minAgreement, width: 0 });
  expect(outcomeOf({ metrics }, exact)).toBe("within");
});

const figures = fc.record({
  ratio: fc.double({ min: 0.9, max: 1.1, noNaN: true }),
  kl: fc.double({ min: 0, max: 0.05, noNaN: true }),
  agreement: fc.double({ min: 0.8, max: 1, noNaN: true }),
  width: fc.double({ min: 0, max: 0.05, noNaN: true }),
});

test("it passes exactly when whole intervals are within, and fails exactly when one is beyond, whatever was measured beside", () => {
  fc.assert(
    fc.property(figures, figures, figures, fc.boolean(), (own, one, with16, measured) => {
      const beside = measured ? { ...at1(metricsOf(one)), ...kept(metricsOf(with16)) } : {};
      const { name, passed } = decideVerdict(factsOf({ ...subject(metricsOf(own)), ...beside }));
      const excesses = [
        Math.log(own.ratio + own.width) - Math.log(1.01),
        own.kl + own.width - 0.02,
        0.95 - own.agreement + own.width,
      ];
      const least = [
        Math.log(own.ratio - own.width) - Math.log(1.01),
        own.kl - own.width - 0.02,
        0.95 - own.agreement - own.width,
      ];
      fc.pre([...excesses, ...least].every((excess) => Math.abs(excess) > 1e-9));
      expect(passed).toBe(excesses.every((excess) => excess <= 0));
      expect(name === "inconclusive").toBe(!passed && least.every((excess) => excess <= 0));
    }),
  );
});

test("a narrower interval inside of a wider one never contradicts: it decides, or says more", () => {
  const KINDS: Readonly<Record<VerdictName, string>> = {
    ...{ ship: "passed", "scale-1-does-as-well": "passed", "too-costly": "failed", "keep-layers-in-16-bits": "failed" },
    ...{ "baseline-broken": "broken", inconclusive: "open" },
  };
  const inside = (wide: number, share: number, place: number) => ({
    width: wide * share,
    moved: wide * (1 - share) * place,
  });
  fc.assert(
    fc.property(
      figures,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: -1, max: 1, noNaN: true }),
      (wide, share, place) => {
        const { width, moved } = inside(wide.width, share, place);
        const narrow = { ratio: wide.ratio + moved, kl: wide.kl + moved, agreement: wide.agreement + moved, width };
        const [before, after] = [wide, narrow].map(
          (own) => KINDS[decideVerdict(factsOf(subject(metricsOf(own)))).name],
        );
        expect(before === "open" || before === after).toBe(true);
      },
    ),
  );
});

describe("what is missing for a decision", () => {
  const moreFor = (changes: Partial<VerdictFacts>) => decideVerdict(factsOf(changes)).moreTokens;

  test("are the tokens for the figure that needs most, where all seem within", () => {
    // KL: 0.004 wide on each side, 0.002 from its limit. Perplexity 0.004 wide, 0.001 away.
    expect(moreFor(subject(metricsOf({ kl: 0.018, width: 0.004 })))).toBe(30_000);
    expect(moreFor(subject(metricsOf({ kl: 0.018, ratio: 1.009, width: 0.004 })))).toBe(150_000);
  });

  test("are those for the first that is beyond, where one seems so", () => {
    expect(moreFor(subject(metricsOf({ kl: 0.022, ratio: 1.009, width: 0.004 })))).toBe(30_000);
  });

  test("are not said by other verdicts, and not where nobody knows", () => {
    for (const changes of [{}, subject(BAD), { baselineNll: 9 }]) expect(moreFor(changes)).toBeUndefined();
    const oneText = {
      text: { amount: 500, observed: 1, observations: 1 },
      ...subject(metricsOf({ width: Number.POSITIVE_INFINITY })),
    };
    expect(moreFor(oneText)).toBeUndefined();
    expect(decideVerdict(factsOf(oneText)).reasons.at(-1)).toMatch(/^A single text says nothing/);
  });

  test("are those by which the model predicts the text and the figures are decided, whichever are more", () => {
    // The gain: 1 wide on each side, 0.5 above 0. KL: 0.004 wide, 0.002 from its limit or 0.001.
    const gain = { gainOverCounting: around(0.5, 1) };
    expect(moreFor(gain)).toBe(30_000);
    expect(moreFor({ ...gain, ...subject(metricsOf({ kl: 0.019, width: 0.004 })) })).toBe(150_000);
    expect(moreFor({ ...gain, ...subject(metricsOf({ kl: 0.5, ratio: 1.009, width: 0.004 })) })).toBe(30_000);
  });

  test("cannot be estimated from few texts", () => {
    const facts = factsOf({
      ...{ text: { amount: 500, observed: 3, observations: 2.8 } },
      ...subject(metricsOf({ kl: 0.018, width: 0.004 })),
    });
    const verdict = decideVerdict(facts);
    expect(verdict).toMatchObject({ name: "inconclusive", moreTokens: undefined, lacks: ["text"] });
    expect(verdict.reasons.at(-1)).toMatch(/cannot be estimated from 3 texts/);
  });

  test("are values where those are what is missing", () => {
    const verdict = decideVerdict(factsOf(retrieving(0.95, 0.88, 0.98)));
    expect(verdict.moreTokens).toBeUndefined();
    expect(verdict.lacks).toEqual(["values"]);
    expect(verdict.moreValues).toBeCloseTo(96 * ((0.07 / 0.05) ** 2 - 1), -1);
    expect(verdict.reasons[0]).toBe(
      "Retrieval: 76 of the 80 values that are found without FP8, 95.00 % (88.00 % to 98.00 %); at least 90 % is required: too few values to tell.",
    );
    expect(verdict.reasons.at(-1)).toMatch(/^About \d+ values more/);
  });

  test("are told with what they assume", () => {
    const { sentence, reasons } = decideVerdict(factsOf(subject(metricsOf({ kl: 0.018, width: 0.004 }))));
    expect(sentence).toMatch(/^Not enough text to decide/);
    expect(reasons[0]).toBe(
      "Mean KL divergence: 0.0180 nats (0.0140 to 0.0220); at most 0.02 nats is allowed: too little text to tell.",
    );
    expect(reasons.at(-1)).toMatch(/^About 30,000 tokens more \(40,000 in all\) would decide, if they are like these/);
  });
});

describe("layers to keep in 16 bits", () => {
  test("are named with vLLM's flag, numbers apart by spaces", () => {
    const { layers, flag } = decideVerdict(factsOf({ ...subject(BAD), ...kept(GOOD) }));
    expect(layers).toEqual([3, 7]);
    expect(flag).toBe("--kv-cache-dtype-skip-layers 3 7");
  });

  test("are not named by any other verdict", () => {
    for (const changes of [{}, subject(BAD), { baselineNll: 9 }, at1(GOOD, NONE)])
      expect(decideVerdict(factsOf(changes))).toMatchObject({ layers: [], flag: undefined });
  });
});

describe("the reasons", () => {
  const reasonsOf = (changes: Partial<VerdictFacts>) => decideVerdict(factsOf(changes)).reasons;

  test("of a failure name every broken threshold, by how much, and no other", () => {
    expect(reasonsOf(subject(metricsOf({ ratio: 1.0321, agreement: 0.93126 })))).toEqual([
      "Perplexity: +3.21 % (+3.16 % to +3.26 %); at most 1 % is allowed.",
      "Most likely token: the same at 93.13 % of the positions (93.08 % to 93.18 %); at least 95 % is required.",
    ]);
    expect(reasonsOf(subject(metricsOf({ kl: 0.0312 })))).toEqual([
      "Mean KL divergence: 0.0312 nats (0.0307 to 0.0317); at most 0.02 nats is allowed.",
    ]);
  });

  test("name the costliest layer, a broken one first", () => {
    const layerEffects = [0.1, 0.3, 0.2].map((meanKl, layer) => ({ layer, meanKl }));
    expect(reasonsOf({ ...subject(BAD), layerEffects }).join(" ")).toContain("Layer 1 costs most");
    const broken = [...layerEffects, { layer: 3, meanKl: Number.NaN }];
    expect(reasonsOf({ ...subject(BAD), layerEffects: broken }).join(" ")).toContain("Layer 3 costs most");
  });

  test("say that scales are wrong which fail where 1.0 does not", () => {
    const better = { value: -0.4, low: -0.5, high: -0.3 };
    const wrong = "the scales of the checkpoint are wrong";
    expect(reasonsOf({ ...subject(BAD), ...at1(GOOD, better) }).join(" ")).toContain(wrong);
    const alike = reasonsOf({ ...subject(BAD), ...at1(GOOD, { value: -0.0001, low: -0.0004, high: 0.0002 }) }).join(
      " ",
    );
    expect(alike).toContain("not measurably better");
    expect(alike).not.toContain(wrong);
    expect(reasonsOf({ ...subject(BAD), ...at1(BAD) }).join(" ")).not.toContain("wrong");
  });

  test("say what fails at scale 1.0", () => {
    expect(reasonsOf(at1(BAD)).join(" ")).toContain("At scale 1.0 it would not. Mean KL divergence: 0.500 nats");
  });

  test("of a broken baseline give what it needs and what counting needs", () => {
    expect(reasonsOf({ baselineNll: 10.81, countModelNll: 7.42 })[0]).toMatch(/ 10\.8 nats .* 7\.42\.$/);
  });
});

test.each<[rule: string, low: number, value: number, high: number, noise: number | undefined, expected: boolean]>([
  ["an interval around 1", 0.999, 1.002, 1.005, undefined, true],
  ["an interval that ends at 1", 1, 1.002, 1.005, undefined, true],
  ["an interval above 1", 1.001, 1.002, 1.003, undefined, false],
  ["an interval below 1", 0.997, 0.998, 0.999, undefined, false],
  ["above 1, but within the noise", 1.001, 1.002, 1.003, 1.003, true],
  ["above 1 within what is noise below it", 1.001, 1.002, 1.003, 0.997, true],
  ["below 1 by more than the noise", 0.997, 0.998, 0.999, 1.001, false],
  ["above 1 by more than the noise", 1.001, 1.002, 1.003, 1.001, false],
  ["an infinite ratio", 0, Infinity, Infinity, undefined, false],
  ["an interval without an end", 0, 1.002, Infinity, undefined, false],
  ["a NaN", Number.NaN, Number.NaN, Number.NaN, 1.1, false],
])("no difference: %s", (_rule, low, value, high, perplexityRatio, expected) => {
  const noiseFloor = perplexityRatio === undefined ? undefined : { perplexityRatio, meanKl: 0 };
  expect(isNoDifference({ value, low, high }, noiseFloor)).toBe(expected);
});

describe("layers worth keeping", () => {
  const effectsOf = (kls: readonly number[]) => kls.map((meanKl, layer) => ({ layer, meanKl }));
  /** Twelve layers: three cost much. */
  const THREE = [0.001, 0.05, 0.001, 0.001, 0.03, 0.001, 0.001, 0.02, 0.001, 0.001, 0.001, 0.001];
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

  test.each<[rule: string, kls: readonly number[], subjectKl: number, maxKl: number, expected: number[] | undefined]>([
    ["the costliest, until the rest is within the limit", THREE, sum(THREE), 0.02, [1, 4, 7]],
    ["no more than needed", THREE, sum(THREE), 0.03, [1, 4]],
    ["one when one is enough", THREE, sum(THREE), 0.06, [1]],
    ["one when KL is not what is broken", THREE, 0.01, 0.02, [1]],
    ["none when they would be more than a quarter", THREE, sum(THREE), 0.005, undefined],
    ["three of twelve, but not of eleven", THREE.slice(0, 11), sum(THREE), 0.02, undefined],
    ["none of three layers", [1, 0, 0], 1, 0.02, undefined],
    ["one of four", [0, 0, 1, 0], 1, 0.02, [2]],
    ["none without layers", [], 1, 0.02, undefined],
    ["more when together they cost more than their sum", THREE, 2 * sum(THREE), 0.06, [1, 4]],
    ["a layer that breaks the model, first", [0.001, 0.2, 0, 0, Number.NaN, 0, 0, 0], Number.NaN, 0.02, [1, 4]],
  ])("%s", (_rule, kls, subjectKl, maxKl, expected) => {
    expect(chooseLayersToKeep(effectsOf(kls), subjectKl, { ...VERIFY_DEFAULTS, maxKl })).toEqual(expected);
  });

  test("cost no less than those that are left, and are at most a quarter", () => {
    const costs = fc.array(fc.double({ min: 0, max: 0.1, noNaN: true }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(costs, (kls) => {
        const layers = chooseLayersToKeep(effectsOf(kls), sum(kls), VERIFY_DEFAULTS);
        fc.pre(layers !== undefined);
        const rest = kls.filter((_, layer) => !layers?.includes(layer));
        expect(layers?.length).toBeLessThanOrEqual(kls.length / 4);
        expect(Math.min(...(layers ?? []).map((layer) => kls[layer] ?? 0))).toBeGreaterThanOrEqual(Math.max(...rest));
        expect(sum(rest)).toBeLessThanOrEqual(VERIFY_DEFAULTS.maxKl + 1e-12);
      }),
    );
  });
});
