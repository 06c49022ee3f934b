// Every architecture of the registry has golden checkpoints, and is held against them: K and V in every cache, and the loss
// of every prompt, as transformers has them.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { HARMLESS } from "../../src/architectures/harmless-keys.js";
import { ARCHITECTURES, describeModel, INNER_ARCHITECTURES } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import {
  configOf,
  DECODER_GOLDENS,
  decoderTypeOf,
  GOLDEN_NAMES,
  goldenFolder,
  lossesOfFolder,
  readGolden,
} from "../helpers/golden-checkpoints.js";
import { oneOfEach, oneOfEachFamily } from "../helpers/golden-settings.js";
import { someOf } from "../helpers/how-much.js";

/** What newer golden files say beside what enters the caches. */
interface FamilyGolden {
  readonly token_ids: readonly (readonly number[])[];
  /** By cache. */
  readonly sites?: readonly { readonly layer: number; readonly attention?: string; readonly name?: string }[];
  /** Mean negative log-likelihood by prompt. */
  readonly loss?: readonly number[];
}

const TOLERANCE = 1e-5;
const goldenOf = (name: string) => readGolden<FamilyGolden>(`checkpoints/${name}/expected.json`);
const WITH_LOSS = GOLDEN_NAMES.filter((name) => goldenOf(name).loss !== undefined);

test.each(Object.keys({ ...ARCHITECTURES, ...INNER_ARCHITECTURES }))("%s has a golden checkpoint", (modelType) => {
  const names = [...GOLDEN_NAMES, ...DECODER_GOLDENS].filter((name) => decoderTypeOf(name) === modelType);
  expect(names.length, `make one: test/golden/checkpoints/${modelType}-…`).toBeGreaterThan(0);
});

describe("a key that nobody knows, added to config.json, is refused by name", () => {
  test.each(someOf(GOLDEN_NAMES, oneOfEach(GOLDEN_NAMES)))("%s", async (name) => {
    const { tensors } = await openCheckpoint(goldenFolder(name));
    const config = configOf(name);
    const isUnknown = (key: string) => !(key in config) && !(key in HARMLESS) && !(key in Object.prototype);
    const value = fc.oneof(fc.integer({ min: 1 }), fc.constant(true), fc.string({ minLength: 1 }), fc.constant([0]));
    // As a family reads keys that its golden leaves out, real ones would be no test: these have a mark.
    const key = fc.string().map((text) => `x_${text}`);
    fc.assert(
      fc.property(key.filter(isUnknown), value, (unknown, given) => {
        const message = `config.json: ${unknown}: `;
        expect(() => describeModel({ ...config, [unknown]: given }, tensors)).toThrow(message);
      }),
      { numRuns: 10 },
    );
  });
});

describe("the loss of every prompt is that of transformers, and so are the places of caches", () => {
  test.each(someOf(WITH_LOSS, oneOfEachFamily(WITH_LOSS)))("%s", async (name) => {
    const { token_ids: windows, loss = [], sites } = goldenOf(name);
    const checkpoint = await openCheckpoint(goldenFolder(name));
    const decoder = describeModel(checkpoint.config, checkpoint.tensors);
    const places = cacheSites(decoder);
    if (sites !== undefined) {
      expect(places.map(({ layer }) => layer)).toEqual(sites.map(({ layer }) => layer));
      const names = sites.map((site) => site.attention ?? site.name);
      expect(places.map((place) => place.name)).toEqual(names);
    }
    const losses = await lossesOfFolder(goldenFolder(name), windows);
    for (const [window, found] of losses.entries()) {
      const expected = loss[window] ?? Number.NaN;
      expect(Math.abs(found / expected - 1), `prompt ${window}`).toBeLessThan(TOLERANCE);
    }
  });
});
