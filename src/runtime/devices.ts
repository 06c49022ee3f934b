// The NVIDIA GPUs of this machine, as the driver's tool nvidia-smi lists them. Without the tool the list is empty; that
// is no error. Knows no ONNX Runtime.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

export interface Device {
  /** The driver's number of it. */
  readonly index: number;
  readonly uuid: string;
  readonly name: string;
  readonly driver: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
}

const FIELDS = ["index", "uuid", "name", "driver_version", "memory.total", "memory.free"] as const;
const MEBIBYTE = 2 ** 20;
const TIMEOUT_MS = 10_000;

/** The GPUs that nvidia-smi lists; none when it is absent or fails. */
export async function nvidiaDevices(): Promise<Device[]> {
  const query = [`--query-gpu=${FIELDS.join(",")}`, "--format=csv,noheader,nounits"];
  try {
    const { stdout } = await promisify(execFile)("nvidia-smi", query, { timeout: TIMEOUT_MS });
    return parseDevices(stdout);
  } catch {
    return [];
  }
}

/** Rows of nvidia-smi's CSV; sizes are in MiB. A row that is not understood (of a lost GPU) is skipped. */
export function parseDevices(csv: string): Device[] {
  return csv.split("\n").flatMap((line) => {
    const [index, uuid = "", name = "", driver = "", total, free] = line.split(",").map((cell) => cell.trim());
    const device = {
      ...{ index: Number(index), uuid, name, driver },
      totalBytes: Number(total) * MEBIBYTE,
      freeBytes: Number(free) * MEBIBYTE,
    };
    const isWhole = Number.isInteger(device.index) && device.totalBytes > 0 && device.freeBytes >= 0;
    return index === "" || !isWhole ? [] : [device];
  });
}

/**
 * The value of CUDA_VISIBLE_DEVICES with which a process sees only one device.
 * @param device its number among those that this process may see
 * @param visible the variable's value in this process
 * @returns undefined when there is no such device
 */
export function visibleDevice(device: number, visible: string | undefined): string | undefined {
  if (visible === undefined) return String(device);
  return visible
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "")[device];
}

/**
 * The device for a name in CUDA_VISIBLE_DEVICES: a number, or the beginning of a UUID. A part of a GPU (MIG) is never
 * found, because nvidia-smi lists whole GPUs.
 */
export function findDevice(devices: readonly Device[], name: string): Device | undefined {
  return devices.find(({ index, uuid }) => String(index) === name || (name.length > 3 && uuid.startsWith(name)));
}
