// Which GPU is meant: what nvidia-smi lists, and what CUDA_VISIBLE_DEVICES makes of a number.

import { describe, expect, test } from "vitest";
import { type Device, findDevice, parseDevices, visibleDevice } from "../../src/runtime/devices.js";

const MEBIBYTE = 2 ** 20;
/** As nvidia-smi --query-gpu=index,uuid,name,driver_version,memory.total,memory.free --format=csv,noheader,nounits says. */
const TWO_GPUS = `0, GPU-5a1c3f9e-7b1d-0d7e-8c9b-61d2b8f0a001, NVIDIA H100 80GB HBM3, 550.54.15, 81559, 81008
1, GPU-9d2b7e44-1f60-4c55-a1de-02f5c1b7b002, NVIDIA GeForce RTX 4090, 550.54.15, 24564, 312
`;

describe("a row of nvidia-smi is a device", () => {
  test("with index, UUID, name, driver, and memory in bytes", () => {
    expect(parseDevices(TWO_GPUS)).toEqual<Device[]>([
      {
        index: 0,
        uuid: "GPU-5a1c3f9e-7b1d-0d7e-8c9b-61d2b8f0a001",
        name: "NVIDIA H100 80GB HBM3",
        driver: "550.54.15",
        totalBytes: 81559 * MEBIBYTE,
        freeBytes: 81008 * MEBIBYTE,
      },
      {
        index: 1,
        uuid: "GPU-9d2b7e44-1f60-4c55-a1de-02f5c1b7b002",
        name: "NVIDIA GeForce RTX 4090",
        driver: "550.54.15",
        totalBytes: 24564 * MEBIBYTE,
        freeBytes: 312 * MEBIBYTE,
      },
    ]);
  });

  test.each<[string, string, number[]]>([
    ["nothing", "", []],
    ["line ends of Windows", TWO_GPUS.replaceAll("\n", "\r\n"), [0, 1]],
    ["a full device, which has no byte free", "3, GPU-a, A, 1, 100, 0", [3]],
    ["a GPU that was lost", "0, GPU-a, A, 1, [Unknown Error], [Unknown Error]\n1, GPU-b, B, 1, 100, 50", [1]],
    ["a device that shares the machine's memory", "0, GPU-a, NVIDIA GB10, 580.1, [N/A], [N/A]", []],
    ["words instead of rows", "No devices were found", []],
    ["an error message with commas", "NVIDIA-SMI has failed, because, of, the, driver, here", []],
    ["a row without index", ", GPU-a, A, 1, 100, 50", []],
  ])("%s: devices %j", (_what, csv, indices) => {
    expect(parseDevices(csv).map(({ index }) => index)).toEqual(indices);
  });
});

describe("a number counts the devices that this process may see", () => {
  test.each<[device: number, visible: string | undefined, expected: string | undefined]>([
    [0, undefined, "0"],
    [7, undefined, "7"],
    [0, "2,3", "2"],
    [1, "2,3", "3"],
    [1, " 2 , 3 ", "3"],
    [2, "2,3", undefined],
    [0, "", undefined],
    [0, "GPU-5a1c3f9e", "GPU-5a1c3f9e"],
    [1, "0,MIG-1c2d", "MIG-1c2d"],
  ])("device %d with CUDA_VISIBLE_DEVICES %j is %j", (device, visible, expected) => {
    expect(visibleDevice(device, visible)).toBe(expected);
  });
});

describe("a name of CUDA_VISIBLE_DEVICES is a number or the beginning of a UUID", () => {
  const devices = parseDevices(TWO_GPUS);
  test.each<[name: string, index: number | undefined]>([
    ["0", 0],
    ["1", 1],
    ["2", undefined],
    ["-1", undefined],
    ["GPU-5a1c3f9e-7b1d-0d7e-8c9b-61d2b8f0a001", 0],
    ["GPU-9d2b", 1],
    ["GPU-0000", undefined],
    ["GPU", undefined],
    ["MIG-5a1c3f9e", undefined],
    ["", undefined],
  ])("%j is device %j", (name, index) => {
    expect(findDevice(devices, name)?.index).toBe(index);
  });
});
