// Which provider computes: what was asked for, or with `auto` the best that works, with a warning about what was passed over.

import { describe, expect, test } from "vitest";
import { CheckpointError, InterruptedError, ProviderError, UsageError } from "../../src/errors.js";
import {
  onFirstThatWorks,
  type ProviderChoice,
  providersToTry,
  untestedWarning,
} from "../../src/pipeline/choose-provider.js";
import type { System } from "../../src/runtime/provider-obstacles.js";
import { PROVIDERS, type ProviderName } from "../../src/runtime/providers.js";

const BARE = { packageFolder: "/ort", exists: () => false, list: () => [] };
const LINUX: System = { ...BARE, platform: "linux", arch: "x64" };
const LINUX_WITH_GPU: System = { ...LINUX, exists: (path) => path === "/dev/nvidiactl" };
const LINUX_WITH_CUDA: System = { ...LINUX, exists: () => true };
const MACOS: System = { ...BARE, platform: "darwin", arch: "arm64" };
const WINDOWS: System = { ...BARE, platform: "win32", arch: "x64" };

describe("auto tries what nothing stands in the way of, the best first and the CPU last", () => {
  test.each<[where: string, system: System, expected: ProviderName[]]>([
    ["Linux without a GPU", LINUX, ["cpu"]],
    ["Linux with a GPU, without CUDA's library", LINUX_WITH_GPU, ["webgpu", "cpu"]],
    ["Linux with CUDA", LINUX_WITH_CUDA, ["cuda", "webgpu", "cpu"]],
    ["macOS", MACOS, ["webgpu", "coreml", "cpu"]],
    ["Windows", WINDOWS, ["webgpu", "dml", "cpu"]],
    ["Linux on ARM", { ...LINUX_WITH_CUDA, arch: "arm64" }, ["cpu"]],
  ])("%s", (_where, system, expected) => {
    expect(providersToTry("auto", undefined, system)).toEqual(expected);
  });
});

describe("what was asked for is tried alone", () => {
  test.each<[ProviderChoice, System]>([
    ["cpu", LINUX_WITH_CUDA],
    ["cuda", LINUX_WITH_CUDA],
    // A processor may imitate a GPU when the user wants it.
    ["webgpu", LINUX],
    ["coreml", MACOS],
    ["dml", WINDOWS],
  ])("%s", (name, system) => {
    expect(providersToTry(name, undefined, system)).toEqual([name]);
  });

  test.each<[ProviderChoice, System, RegExp]>([
    ["cuda", LINUX, /^cuda cannot be used: .*This installs it: npx create-kv-scales providers --install cuda$/],
    ["cuda", WINDOWS, /^cuda cannot be used: .*linux-x64 only, and this is win32-x64$/],
    ["dml", MACOS, /^dml cannot be used: .*and this is darwin-arm64$/],
    ["coreml", LINUX, /^coreml cannot be used: /],
  ])("%s is refused where something stands in its way (%#)", (name, system, message) => {
    const choose = () => providersToTry(name, undefined, system);
    expect(choose).toThrow(ProviderError);
    expect(choose).toThrow(message);
  });
});

describe("devices are chosen with CUDA alone", () => {
  test.each<ProviderChoice>(["auto", "cuda"])("%s", (choice) => {
    expect(providersToTry(choice, [1, 0], LINUX_WITH_CUDA)).toEqual(["cuda"]);
    expect(() => providersToTry(choice, [0], LINUX)).toThrow(ProviderError);
  });

  test.each<ProviderChoice>(["cpu", "webgpu", "coreml", "dml"])("%s has none to choose", (choice) => {
    expect(() => providersToTry(choice, [0], LINUX_WITH_CUDA)).toThrow(UsageError);
  });
});

describe("work is done on the first provider that does not fail", () => {
  /** Work that fails with these errors, and what it was tried on. */
  function workThatFails(errors: Partial<Record<ProviderName, Error>>) {
    const tried: ProviderName[] = [];
    const work = async (provider: ProviderName) => {
      tried.push(provider);
      const error = errors[provider];
      if (error !== undefined) throw error;
      return `done on ${provider}`;
    };
    return { tried, work };
  }

  test("on the first one without a word", async () => {
    const { tried, work } = workThatFails({});
    const computed = await onFirstThatWorks(["cuda", "webgpu", "cpu"], work);
    expect(computed).toEqual({ result: "done on cuda", provider: "cuda", warnings: [] });
    expect(tried).toEqual(["cuda"]);
  });

  test("a provider that fails is passed over with a warning that says why", async () => {
    const { tried, work } = workThatFails({ cuda: new ProviderError("no driver"), webgpu: new ProviderError("lost") });
    expect(await onFirstThatWorks(["cuda", "webgpu", "cpu"], work)).toEqual({
      result: "done on cpu",
      provider: "cpu",
      warnings: ["cuda was skipped: no driver", "webgpu was skipped: lost"],
    });
    expect(tried).toEqual(["cuda", "webgpu", "cpu"]);
  });

  test("nothing is tried after the last one: its error is the end", async () => {
    const lost = new ProviderError("lost");
    const { tried, work } = workThatFails({ cuda: new ProviderError("no driver"), cpu: lost });
    await expect(onFirstThatWorks(["cuda", "cpu"], work)).rejects.toBe(lost);
    expect(tried).toEqual(["cuda", "cpu"]);
  });

  test("what was asked for is never replaced", async () => {
    const lost = new ProviderError("lost");
    const { tried, work } = workThatFails({ webgpu: lost });
    const providers = providersToTry("webgpu", undefined, LINUX_WITH_GPU);
    await expect(onFirstThatWorks(providers, work)).rejects.toBe(lost);
    expect(tried).toEqual(["webgpu"]);
  });

  test.each<[string, Error]>([
    ["a damaged checkpoint", new CheckpointError("Layer 3: K has values that are not finite")],
    ["an interrupt", new InterruptedError()],
    ["wrong usage", new UsageError("--device 7: no such device")],
    ["a bug", new TypeError("x is not a function")],
  ])("%s is not the provider's fault, so no other is tried", async (_what, error) => {
    const { tried, work } = workThatFails({ cuda: error });
    await expect(onFirstThatWorks(["cuda", "cpu"], work)).rejects.toBe(error);
    expect(tried).toEqual(["cuda"]);
  });
});

test("what nobody has run yet is warned of, and nothing else", () => {
  const names = Object.keys(PROVIDERS) as ProviderName[];
  expect(names.filter((name) => untestedWarning(name).length > 0)).toEqual(["coreml", "dml"]);
  expect(untestedWarning("dml")).toEqual([expect.stringMatching(/^Nobody has run dml yet: .*--provider cpu/)]);
});
