// A model that is kept in memory whole must fit, into what the user allows and into what is free.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { ProviderError, UsageError } from "../../src/errors.js";
import { requireMemoryForModel } from "../../src/pipeline/decode-memory.js";
import { EMBEDDED_EXAMPLE } from "../../src/pipeline/run-options.js";

const checkpoint = await openCheckpoint(EMBEDDED_EXAMPLE);
const decoder = describeModel(checkpoint.config, checkpoint.tensors);

/** Of the example: layers and head as float32, the embedding, which is tied to the head, as the bfloat16 that it is. */
const LAYER_ELEMENTS = 2 * 128 + 128 * 128 * 2 + 2 * 128 * 64 + 3 * 128 * 448;
const WEIGHTS = 4 * (6 * LAYER_ELEMENTS + 2304 * 128) + 2 * 2304 * 128;
const BESIDE = 512 * 2 ** 20;

function requireWith(limit: number | undefined, free = 2 ** 40): () => void {
  return () => requireMemoryForModel(checkpoint, decoder, limit, free);
}

describe("the weights", () => {
  test("may take exactly what --memory allows", () => {
    expect(requireWith(WEIGHTS)).not.toThrow();
    expect(requireWith(WEIGHTS - 1)).toThrow(UsageError);
    expect(requireWith(2 ** 20)).toThrow(
      /6\.8 MiB of weights.*--memory allows 1\.0 MiB.*Raise it, or leave out --generate/,
    );
  });

  test("must leave room for what stands beside them in the memory that is free", () => {
    expect(requireWith(undefined, WEIGHTS + BESIDE)).not.toThrow();
    expect(requireWith(undefined, WEIGHTS + BESIDE - 1)).toThrow(ProviderError);
    expect(requireWith(2 ** 40, 2 ** 20)).toThrow(/1\.0 MiB are free\. Free memory, or leave out --generate/);
  });

  test("fit into the memory of the machine that runs this", () => {
    expect(() => requireMemoryForModel(checkpoint, decoder, undefined)).not.toThrow();
  });
});
