import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // What the tests expect is computed on the CPU; a machine with a GPU must not change it. Tests of others name them.
    env: { CREATE_KV_SCALES_PROVIDER: "cpu" },
  },
});
