import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Most tests wait for one process at a time: with a core left idle they take half as long again.
    maxWorkers: "100%",
    // What the tests expect is computed on the CPU; a machine with a GPU must not change it. Tests of others name them.
    env: {
      CREATE_KV_SCALES_PROVIDER: "cpu",
      // Tests that open sessions of their own must not report to anyone, either.
      ORT_DISABLE_TELEMETRY: "1",
    },
  },
});
