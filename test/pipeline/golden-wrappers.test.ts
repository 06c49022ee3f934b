// Multimodal models are held against goldens that transformers' class for the whole model made, with towers: K and V in every
// cache, the loss of every prompt, the names of the attention.

import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import {
  type ExpectedWithLoss,
  goldenFolder,
  largestDeviation,
  lossesOfFolder,
  measureFolder,
  readGolden,
  WRAPPER_GOLDENS,
} from "../helpers/golden-checkpoints.js";

const TOLERANCE = 1e-5;

function expectNear(found: readonly number[], expected: readonly number[], what: string): void {
  expect(largestDeviation(found, expected), what).toBeLessThan(TOLERANCE);
}

describe("K, V and the loss of every prompt are those of transformers, and so are the places of caches", () => {
  test.each(WRAPPER_GOLDENS)("%s", async (name) => {
    const {
      token_ids: tokenIds,
      absmax,
      sites,
      loss,
    } = readGolden<ExpectedWithLoss>(`checkpoints/${name}/expected.json`);
    const folder = goldenFolder(name);
    const { config, tensors } = await openCheckpoint(folder);
    const places = cacheSites(describeModel(config, tensors));
    expect(places.map((place) => ({ layer: place.layer, attention: place.name }))).toEqual(sites);
    const ranges = await measureFolder(folder, tokenIds);
    for (const [index, { k, v }] of absmax.entries()) {
      expectNear(ranges[index]?.k.perHead ?? [], k, `K of cache ${index}`);
      expectNear(ranges[index]?.v.perHead ?? [], v, `V of cache ${index}`);
    }
    expectNear(await lossesOfFolder(folder, tokenIds), loss, "loss");
  });
});
