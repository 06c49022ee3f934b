// What can be seen to stand in a provider's way: the platform, the library of CUDA, a GPU.

import { describe, expect, test } from "vitest";
import { hasNoGpu, obstacleOf, type System, thisSystem } from "../../src/runtime/provider-obstacles.js";
import { PROVIDERS, type ProviderName } from "../../src/runtime/providers.js";

const NAMES = Object.keys(PROVIDERS) as ProviderName[];
const PACKAGE = "/opt/node_modules/onnxruntime-node";
const CUDA_LIBRARY = `${PACKAGE}/bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so`;

/** A machine on which these files are. */
function machine(name: string, files: readonly string[] = [], packageFolder = PACKAGE): System {
  const [platform = "", arch = ""] = name.split("-");
  return {
    ...{ platform, arch, packageFolder },
    exists: (path) => files.includes(path),
    list: (folder) => files.flatMap((file) => (file.startsWith(`${folder}/`) ? [file.slice(folder.length + 1)] : [])),
  };
}

// As the package's README lists them; its binaries of 1.30 agree.
test.each<[system: string, without: ProviderName[]]>([
  ["linux-x64", ["coreml", "dml"]],
  ["linux-arm64", ["cuda", "webgpu", "coreml", "dml"]],
  ["win32-x64", ["cuda", "coreml"]],
  ["win32-arm64", ["cuda", "coreml"]],
  ["darwin-x64", ["cuda", "dml"]],
  ["darwin-arm64", ["cuda", "dml"]],
  ["freebsd-x64", ["cuda", "webgpu", "coreml", "dml"]],
])("on %s onnxruntime-node has no %j", (name, without) => {
  const system = machine(name, [CUDA_LIBRARY]);
  expect(NAMES.filter((provider) => obstacleOf(provider, system) !== undefined)).toEqual(without);
});

test("an obstacle of the platform says where the provider is, and where this is", () => {
  expect(obstacleOf("dml", machine("linux-x64"))).toEqual({
    what: "onnxruntime-node has it on win32-x64, win32-arm64 only, and this is linux-x64",
  });
});

describe("without its library, CUDA's obstacle is a command that brings it", () => {
  test("of this program", () => {
    const { what, command } = obstacleOf("cuda", machine("linux-x64")) ?? {};
    expect(what).toContain("libonnxruntime_providers_cuda.so is not installed");
    expect(command).toEqual(["npx", "create-kv-scales", "providers", "--install", "cuda"]);
  });

  test("with the library nothing is seen to stand in the way", () => {
    expect(obstacleOf("cuda", machine("linux-x64", [CUDA_LIBRARY]))).toBeUndefined();
  });
});

test("this machine's onnxruntime-node has the install script that the command runs", () => {
  const { packageFolder, exists } = thisSystem();
  expect(exists(`${packageFolder}/script/install.js`)).toBe(true);
});

describe("auto passes over what a processor would have to imitate", () => {
  test.each<[what: string, system: System, passedOver: ProviderName[]]>([
    ["Linux without any device", machine("linux-x64"), ["cuda", "webgpu", "coreml", "dml"]],
    ["Linux with NVIDIA's driver", machine("linux-x64", ["/dev/nvidiactl"]), []],
    ["Linux with another GPU", machine("linux-x64", ["/dev/dri/card0", "/dev/dri/renderD128"]), []],
    ["Linux with a screen alone", machine("linux-x64", ["/dev/dri/card0"]), ["cuda", "webgpu", "coreml", "dml"]],
    ["Linux inside Windows", machine("linux-x64", ["/dev/dxg"]), []],
    ["macOS, where every machine has one", machine("darwin-arm64"), []],
    ["Windows", machine("win32-x64"), []],
  ])("%s", (_what, system, passedOver) => {
    expect(NAMES.filter((provider) => hasNoGpu(provider, system))).toEqual(passedOver);
  });
});
