// A mixture of experts in plain float64 arithmetic, one token at a time: what the graphs are held against. Written from
// the routers' formulas as transformers has them, not from the graphs.

import type { FeedForward, Linear, Norm } from "../../src/architectures/blocks.js";
import type { Experts, Router, ScoreRouter } from "../../src/architectures/experts.js";
import { storedTensors, type WeightSource } from "../../src/architectures/weight-source.js";
import { ACTIVATION_REFERENCES, linearReference, type Vector } from "./reference.js";
import { rowsOf, type Tensor, type Tensors } from "./run-graph.js";

interface Choice {
  readonly expert: number;
  readonly weight: number;
}

/** The output for a token, and the experts that it was sent to. */
export function expertsReference(
  { router, norm, experts, weighted, shared }: Experts,
  tensors: Tensors,
  given: Vector,
): { readonly output: number[]; readonly chosen: number[] } {
  const linear = ({ weight, bias }: Linear, y: Vector) =>
    linearReference(y, matrix(tensors, weight), bias === undefined ? undefined : vector(tensors, bias));
  const feedForward = ({ gate, up, down, activation }: FeedForward, y: Vector) => {
    if (gate === undefined || typeof activation !== "string")
      throw new Error("these experts have a gate, and no xIELU");
    const passed = linear(up, y);
    return linear(
      down,
      linear(gate, y).map((value, index) => ACTIVATION_REFERENCES[activation](value) * (passed[index] ?? Number.NaN)),
    );
  };
  const input = router.kind === "scores" ? router.input : undefined;
  const read = input === undefined ? given : normed(input.norm, tensors, given).map((v) => v * input.multiplier);
  const choices = routeReference(router, tensors, linear(router.logits, read));
  const x = norm === undefined ? given : normed(norm, tensors, given);
  const outputs = choices.map(({ expert, weight }) => {
    const description = experts[expert];
    if (description === undefined) throw new Error(`no expert ${expert}`);
    if (weighted === "output") return feedForward(description, x).map((value) => weight * value);
    return feedForward(
      description,
      x.map((value) => weight * value),
    );
  });
  if (shared !== undefined) {
    const [open = 0] = shared.gate === undefined ? [] : linear(shared.gate, x);
    const factor = shared.gate === undefined ? 1 : sigmoid(open);
    outputs.push(feedForward(shared.feedForward, x).map((value) => factor * value));
  }
  const output = x.map((_, index) => outputs.reduce((sum, values) => sum + (values[index] ?? Number.NaN), 0));
  return { output, chosen: choices.map(({ expert }) => expert) };
}

function normed({ weight, epsilon }: Norm, tensors: Tensors, x: Vector): number[] {
  const factors = weight === undefined ? x.map(() => 1) : vector(tensors, weight);
  const root = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + epsilon);
  return x.map((value, at) => (value / root) * (factors[at] ?? Number.NaN));
}

function routeReference(router: Router, tensors: Tensors, logits: readonly number[]): readonly Choice[] {
  return router.kind === "scores" ? bestScores(router, tensors, logits) : sparseMixer(router.jitter, logits);
}

function bestScores(router: ScoreRouter, tensors: Tensors, raw: readonly number[]): readonly Choice[] {
  const { softcap, correction, groups, normalised, perToken, multiplier, perExpert } = router;
  const logits = softcap === undefined ? raw : raw.map((logit) => softcap * Math.tanh(logit / softcap));
  const scores = router.score === "softmax" ? softmax(logits) : logits.map(sigmoid);
  const bias = correction === undefined ? scores.map(() => 0) : vector(tensors, correction);
  const candidates = scores.map((score, expert) => ({ expert, value: score + (bias[expert] ?? Number.NaN) }));
  const best = byValue(groups === undefined ? candidates : ofBestGroups(candidates, groups)).slice(0, perToken);
  const weights = best.map(({ expert }) => scores[expert] ?? Number.NaN);
  const divisor =
    normalised === undefined
      ? 1
      : Math.max(
          weights.reduce((sum, weight) => sum + weight ** normalised.p, 0) ** (1 / normalised.p) + normalised.epsilon,
          normalised.floor,
        );
  const factors = perExpert === undefined ? scores.map(() => 1) : vector(tensors, perExpert);
  return best.map(({ expert }, place) => ({
    expert,
    weight: ((multiplier * (weights[place] ?? Number.NaN)) / divisor) * (factors[expert] ?? Number.NaN),
  }));
}

interface Candidate {
  readonly expert: number;
  readonly value: number;
}

function byValue(candidates: readonly Candidate[]): Candidate[] {
  return candidates.toSorted((a, b) => b.value - a.value);
}

function ofBestGroups(candidates: readonly Candidate[], groups: { count: number; chosen: number }): Candidate[] {
  const size = candidates.length / groups.count;
  const members = Array.from({ length: groups.count }, (_, group) =>
    candidates.slice(group * size, (group + 1) * size),
  );
  const sum = (group: readonly Candidate[]) =>
    byValue(group)
      .slice(0, 2)
      .reduce((total, { value }) => total + value, 0);
  return members
    .toSorted((a, b) => sum(b) - sum(a))
    .slice(0, groups.chosen)
    .flat();
}

function sparseMixer(jitter: number, logits: readonly number[]): readonly Choice[] {
  const first = byValue(logits.map((value, expert) => ({ expert, value })))[0];
  const second = byValue(logits.map((value, expert) => ({ expert, value })))[1];
  return [first, second].map((best, place) => {
    if (best === undefined) throw new Error("two experts at least");
    const gates = logits.map((logit, expert) => {
      const isFar = (best.value - logit) / Math.max(Math.abs(logit), best.value) > 2 * jitter;
      return isFar || (place === 1 && expert === first?.expert) ? Number.NEGATIVE_INFINITY : logit;
    });
    return { expert: best.expert, weight: softmax(gates)[best.expert] ?? Number.NaN };
  });
}

function softmax(logits: readonly number[]): number[] {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function matrix(tensors: Tensors, source: WeightSource): readonly Vector[] {
  return rowsOf(storedIn(tensors, source));
}

function vector(tensors: Tensors, source: WeightSource): Vector {
  return [...storedIn(tensors, source).data];
}

function storedIn(tensors: Tensors, source: WeightSource): Tensor {
  const name = storedTensors(source)[0]?.name ?? "";
  const found = tensors[name];
  if (found === undefined) throw new Error(`no weight "${name}"`);
  return found;
}
