// Checkpoints with quantized weights, of every form that is read: K and V in every cache, and the loss of every prompt, are
// those of transformers with the numbers that the methods' own code makes of codes and scales.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { LayerRange } from "../../src/numerics/ranges.js";
import { describeCheckpoint } from "../../src/pipeline/describe-checkpoint.js";
import {
  type ExpectedWithLoss,
  GOLDEN_FOLDER,
  largestDeviation,
  lossesOfFolder,
  measureFolder,
  readGolden,
} from "../helpers/golden-checkpoints.js";

const TOLERANCE = 1e-5;
const NAMES = readdirSync(join(GOLDEN_FOLDER, "quantized")).sort();
const folderOf = (name: string) => join(GOLDEN_FOLDER, "quantized", name);
const goldenOf = (name: string) => readGolden<ExpectedWithLoss>(`quantized/${name}/expected.json`);

function expectGolden(name: string, ranges: readonly LayerRange[]): void {
  const { absmax, sites } = goldenOf(name);
  expect(ranges.map(({ layer }) => layer)).toEqual(sites.map(({ layer }) => layer));
  for (const [site, heads] of absmax.entries()) {
    for (const side of ["k", "v"] as const) {
      const { perHead = [] } = ranges[site]?.[side] ?? {};
      expect(largestDeviation(perHead, heads[side]), `cache ${site} ${side}`).toBeLessThan(TOLERANCE);
    }
  }
}

describe.each(NAMES)("%s", (name) => {
  const { token_ids, loss } = goldenOf(name);

  test.each(["in-each-run", "when-opened"] as const)("K and V absmax per cache and head: numbers %s", async (when) => {
    expectGolden(name, await measureFolder(folderOf(name), token_ids, { dequantizes: when }));
  });

  test("the loss of each prompt", async () => {
    expect(largestDeviation(await lossesOfFolder(folderOf(name), token_ids), loss)).toBeLessThan(TOLERANCE);
  });
});

test("they are as many as the forms: no method is read without one", async () => {
  const found = await Promise.all(
    NAMES.map(async (name) => {
      const decoder = describeCheckpoint(await openCheckpoint(folderOf(name)));
      expect(cacheSites(decoder).map((site) => site.name)).toEqual(
        goldenOf(name).sites.map(({ attention }) => attention),
      );
      return decoder.quantization?.method;
    }),
  );
  expect(new Set(found)).toEqual(
    new Set(["fp8", "fbgemm_fp8", "compressed-tensors", "modelopt", "mxfp4", "gptq", "awq"]),
  );
});
