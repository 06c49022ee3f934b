// Finds a device for WebGPU to test on: Chromium's in software, where a Chromium is installed, or a GPU. Each is tried in a
// process of its own, as drivers may end a process that asks for them. Needs the built program.

import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { REPOSITORY, startProgram } from "./run-cli.js";

export interface WebGpuDevice {
  /** What the environment of a process needs to compute on it; undefined when there is no device. */
  readonly env?: Readonly<Record<string, string>>;
  /** Why there is none, for the name of a test that is skipped. */
  readonly reason: string;
}

/** Name of the setting by which Vulkan's loader is told of a driver. */
const DRIVER_SETTING = "VK_DRIVER_FILES";
const SWIFTSHADER = "vk_swiftshader_icd.json";

/** The first device that works. */
export async function findWebGpuDevice(): Promise<WebGpuDevice> {
  const candidates = [
    ...swiftShaderFiles().map((file) => ({ [DRIVER_SETTING]: file })),
    {}, // what Vulkan's loader, Metal or Direct3D finds by itself
  ];
  for (const env of candidates) {
    if (await computes(env)) return { env, reason: "" };
  }
  return { reason: `no device: neither a GPU nor a Chromium with ${SWIFTSHADER}` };
}

/** Driver files of Chromium's software device, in the places where distributions, Chrome and test tools install it. */
function swiftShaderFiles(): string[] {
  const cache = join(homedir(), ".cache");
  const folders = [
    ...["/usr/lib/chromium", "/usr/lib/chromium-browser", "/usr/lib64/chromium-browser", "/opt/google/chrome"],
    "/snap/chromium/current/usr/lib/chromium-browser",
    ...foldersIn(join(cache, "ms-playwright")).flatMap((folder) => [join(folder, "chrome-linux")]),
    ...foldersIn(join(cache, "puppeteer", "chrome")).flatMap((folder) => [join(folder, "chrome-linux64")]),
  ];
  return folders.map((folder) => join(folder, SWIFTSHADER)).filter((file) => existsSync(file));
}

function foldersIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

/** Adds 1 to a number on the device. */
const TRIAL = `
  const { GraphBuilder } = await import(process.argv[1] + "onnx/graph-builder.js");
  const { encodeModelProto } = await import(process.argv[1] + "onnx/model-proto.js");
  const { openSession } = await import(process.argv[1] + "runtime/session.js");
  const builder = new GraphBuilder();
  const sum = builder.op("Add", [builder.input("x", "float32", [1]), builder.float32s([1])]);
  builder.output(sum, "y", "float32", [1]);
  const request = { externalDataFolder: "", provider: "webgpu", purpose: "a trial" };
  const session = await openSession({ model: encodeModelProto(builder.finish()), ...request });
  const { y } = await session.run({ x: { type: "float32", data: Float32Array.of(2), shape: [1] } });
  process.stdout.write(String(y[0]));
`;

const TRIAL_MILLISECONDS = 20_000;

async function computes(env: Readonly<Record<string, string>>): Promise<boolean> {
  const dist = pathToFileURL(join(REPOSITORY, "dist/")).href;
  const { child, done } = startProgram(process.execPath, ["--input-type=module", "-e", TRIAL, dist], { env });
  const deadline = setTimeout(() => child.kill("SIGKILL"), TRIAL_MILLISECONDS);
  const { stdout } = await done;
  clearTimeout(deadline);
  return stdout === "3";
}
