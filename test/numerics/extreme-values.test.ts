import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  type BlockMaxima,
  curvatureOf,
  type ExtremeValues,
  fitAtShape,
  fitExtremeValues,
  logLikelihood,
  quantileOf,
} from "../../src/numerics/extreme-values.js";

interface ReferenceFit {
  readonly location: number;
  readonly scale: number;
  readonly shape?: number;
  readonly log_likelihood: number;
}

interface Case {
  readonly name: string;
  readonly values: readonly number[];
  readonly gumbel: ReferenceFit;
  readonly general: ReferenceFit;
  readonly gumbel_level: number;
  readonly general_level: number;
}

const GOLDEN = new URL("../golden/extreme-values.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(GOLDEN, "utf8")) as { cases: readonly Case[] };

const equalSizes = (values: readonly number[]): BlockMaxima => ({
  values,
  sizes: values.map(() => 1),
  threshold: Number.NEGATIVE_INFINITY,
  censoredSize: 0,
});

/** Within 1 % of the scale, which is what levels are made of. */
const expectSameFit = (fit: ExtremeValues, reference: ReferenceFit) => {
  expect(Math.abs(fit.location - reference.location) / reference.scale).toBeLessThan(0.01);
  expect(Math.abs(fit.scale / reference.scale - 1)).toBeLessThan(0.01);
};

describe("fits agree with SciPy's on the same maxima", () => {
  test.each(cases)("Gumbel: $name", ({ values, gumbel, gumbel_level }) => {
    const fit = fitAtShape(equalSizes(values), 0);
    expectSameFit(fit, gumbel);
    expect(logLikelihood(equalSizes(values), fit)).toBeCloseTo(gumbel.log_likelihood, 3);
    expect(quantileOf(fit, 100, 0.05) / gumbel_level).toBeCloseTo(1, 3);
  });

  test.each(cases)("the shape fitted, too: $name", ({ values, general, general_level }) => {
    const fit = fitExtremeValues(equalSizes(values));
    // SciPy may look beyond −0.5, where we do not.
    if ((general.shape ?? 0) < -0.5) return expect(fit.shape).toBeCloseTo(-0.5, 3);
    expect(logLikelihood(equalSizes(values), fit)).toBeGreaterThan(general.log_likelihood - 0.001);
    expectSameFit(fit, general);
    expect(Math.abs(fit.shape - (general.shape ?? Number.NaN))).toBeLessThan(0.01);
    expect(Math.abs(quantileOf(fit, 100, 0.05) / general_level - 1)).toBeLessThan(0.01);
  });
});

describe("the distribution", () => {
  const SHAPES = [-0.3, -0.05, 0, 1e-12, 0.1, 0.3];

  test.each(SHAPES)("shape %d: a block of size n is n blocks of size 1", (shape) => {
    const distribution = { location: 3, scale: 0.5, shape };
    // 1 − (1 − p) ** n of n blocks
    expect(quantileOf(distribution, 5, 1 - 0.9 ** 5)).toBeCloseTo(quantileOf(distribution, 1, 0.1), 10);
  });

  test.each(SHAPES)("shape %d: derivatives are those of the likelihood", (shape) => {
    const maxima = { values: [3.1, 2.4, 4.2, 2.6], sizes: [1, 0.5, 2, 1.5], threshold: 2.2, censoredSize: 1.3 };
    const at = (move: number, stretch: number) =>
      logLikelihood(maxima, { location: 2.5 + 0.6 * move, scale: 0.6 * Math.exp(stretch), shape });
    const step = 1e-4;
    const { gradient, hessian } = curvatureOf(maxima, { location: 2.5, scale: 0.6, shape });
    expect(gradient[0]).toBeCloseTo((at(step, 0) - at(-step, 0)) / (2 * step), 4);
    expect(gradient[1]).toBeCloseTo((at(0, step) - at(0, -step)) / (2 * step), 4);
    expect(hessian[0]).toBeCloseTo((at(step, 0) - 2 * at(0, 0) + at(-step, 0)) / step ** 2, 3);
    expect(hessian[2]).toBeCloseTo((at(0, step) - 2 * at(0, 0) + at(0, -step)) / step ** 2, 3);
  });

  test("beyond the end of its tail, a maximum is impossible", () => {
    const maxima = equalSizes([1, 2, 100]);
    expect(logLikelihood(maxima, { location: 1, scale: 1, shape: -0.3 })).toBe(Number.NEGATIVE_INFINITY);
    expect(logLikelihood(equalSizes([-100]), { location: 1, scale: 1, shape: 0.3 })).toBe(Number.NEGATIVE_INFINITY);
  });

  test("censored blocks count as one that did not exceed the threshold", () => {
    const distribution = { location: 1, scale: 2, shape: 0 };
    const maxima = { values: [], sizes: [], threshold: 3, censoredSize: 4 };
    expect(logLikelihood(maxima, distribution)).toBeCloseTo(-4 * Math.exp(-1), 12);
  });
});
