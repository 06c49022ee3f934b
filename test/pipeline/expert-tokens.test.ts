// How many tokens each expert computes is what transformers' routers say, however the work is cut; padding is not counted.

import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { type ExpertTokens, mergeExpertTokens } from "../../src/numerics/expert-tokens.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { GOLDEN_NAMES, goldenFolder, readGolden } from "../helpers/golden-checkpoints.js";
import { WITH_NEW_SETTINGS } from "../helpers/golden-settings.js";
import { someOf } from "../helpers/how-much.js";

interface ExpertsGolden {
  readonly token_ids: readonly (readonly number[])[];
  readonly experts?: readonly ExpertTokens[];
}

const goldenOf = (name: string) => readGolden<ExpertsGolden>(`checkpoints/${name}/expected.json`);
const WITH_EXPERTS = GOLDEN_NAMES.filter((name) => (goldenOf(name).experts ?? []).length > 0);

async function measure(name: string, tokenIds: ExpertsGolden["token_ids"], memory?: number) {
  const checkpoint = await openCheckpoint(goldenFolder(name));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const plan = planCompute({ provider: "cpu", checkpoint, decoder, memory });
  const { experts } = await measureRanges({ checkpoint, decoder, tokenIds, plan });
  return { experts, last: cacheSites(decoder).at(-1)?.layer ?? 0 };
}

/** Behind the last cache nothing is computed: experts are not there. */
const aheadOf = (last: number, experts: readonly ExpertTokens[]) => experts.filter(({ layer }) => layer < last);

describe("tokens of each expert of each layer before the last cache are those of transformers", () => {
  test.each(someOf(WITH_EXPERTS, (name) => WITH_NEW_SETTINGS.has(name)))("%s", async (name) => {
    const { token_ids, experts = [] } = goldenOf(name);
    const measured = await measure(name, token_ids);
    expect(measured.experts).toEqual(aheadOf(measured.last, experts));
  });
});

describe("they are the same", () => {
  const name = "mixtral-plain";
  const { token_ids: prompts, experts = [] } = goldenOf(name);

  test("when each layer is a segment", async () => {
    const measured = await measure(name, prompts, 1);
    expect(measured.experts).toEqual(aheadOf(measured.last, experts));
  });

  test("when prompts run apart, and their counts are added up", async () => {
    const parts = await Promise.all(prompts.map((prompt) => measure(name, [prompt])));
    const [{ last } = { last: 0 }] = parts;
    expect(mergeExpertTokens(parts.map((part) => part.experts))).toEqual(aheadOf(last, experts));
  });
});

test("a dense model has none", async () => {
  const { token_ids: prompts } = goldenOf("llama-gqa");
  expect((await measure("llama-gqa", prompts)).experts).toEqual([]);
});
