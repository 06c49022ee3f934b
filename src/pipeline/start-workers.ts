// Starts the computing processes for a provider and devices, each with its plan. Asks the driver for free memory and
// the system for its cores; computes nothing.

import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { type KvScalesError, ProviderError, UsageError } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { type Device, findDevice, nvidiaDevices, visibleDevice } from "../runtime/devices.js";
import { freeMemory } from "../runtime/free-memory.js";
import { usableCores } from "../runtime/processors.js";
import { PROVIDERS, type ProviderName } from "../runtime/providers.js";
import { type ComputePlan, defaultLayerBytes, planCompute } from "./compute-plan.js";
import { startComputeProcess } from "./compute-process.js";
import { type CoresRequest, type ProcessPlan, planProcesses } from "./process-plan.js";
import { largestPartBytes } from "./segment-plan.js";
import type { Worker } from "./share-work.js";

export interface WorkersRequest {
  readonly provider: ProviderName;
  /** Numbers of devices among those that this process may see; default: the first. */
  readonly devices?: readonly number[] | undefined;
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly memory?: number | undefined;
  /** Approximate number of tokens, which decides whether several processes on the CPU pay off. */
  readonly tokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts a process per device, or several that share the CPU's cores. All have the same plan, so that results do not
 * depend on the process.
 * @param machine cores and memory to share on the CPU; default: those of this machine
 * @throws UsageError when a named device does not exist, ProviderError when there is none at all, InterruptedError
 * while the driver is asked
 */
export async function startWorkers(request: WorkersRequest, machine?: Machine): Promise<Worker[]> {
  if (!PROVIDERS[request.provider].usesDevice) return startOnCores(request, machine);
  return startOnDevices(await planOnDevices(request));
}

type Machine = Pick<CoresRequest, "cores" | "free">;

function machineHere(): Machine {
  return { cores: usableCores(), free: freeMemory() };
}

/** How many processes share the CPU's cores, and the threads of each. @param machine as in startWorkers */
export function planOnCores(request: WorkersRequest, machine = machineHere()): ProcessPlan {
  const { decoder, memory, tokens = 0 } = request;
  const { dequantizes } = planCompute(request);
  const limits = { layerBytes: defaultLayerBytes(memory), elementType: "float32", dequantizes } as const;
  return planProcesses({ ...machine, tokens, layerBytes: largestPartBytes(decoder, limits), memory });
}

function startOnCores(request: WorkersRequest, machine = machineHere()): Worker[] {
  const { memory } = request;
  const { processes, threads } = planOnCores(request, machine);
  const plan = planCompute({ ...request, memory: memory && Math.floor(memory / processes) });
  return Array.from({ length: processes }, () => ({ process: startComputeProcess({ threads }), plan }));
}

/** Starts a process per device. */
export function startOnDevices({ chosen, plan }: DevicesPlan): Worker[] {
  return chosen.map(({ visible }) => ({ process: startComputeProcess({ visibleDevice: visible }), plan }));
}

export interface DevicesPlan {
  readonly plan: ComputePlan;
  readonly chosen: readonly ChosenDevice[];
  /** Free bytes of the device with the least; undefined where nvidia-smi lists none. */
  readonly freeBytes: number | undefined;
}

/** The devices for startWorkers. @throws UsageError, ProviderError: as startWorkers */
export async function planOnDevices(request: WorkersRequest): Promise<DevicesPlan> {
  const { provider, devices, signal } = request;
  const { choosesDevice } = PROVIDERS[provider];
  const known = await untilInterrupted(signal, nvidiaDevices());
  // If no device was named, a missing one is not wrong usage.
  const Missing = devices === undefined ? ProviderError : UsageError;
  const chosen = (devices ?? [0]).map((device) =>
    choosesDevice ? chooseDevice(device, known, Missing) : { found: known[device] },
  );
  const free = chosen.flatMap(({ found }) => (found === undefined ? [] : [found.freeBytes]));
  const freeBytes = free.length > 0 ? Math.min(...free) : undefined;
  return { plan: planCompute({ ...request, freeDeviceMemory: freeBytes }), chosen, freeBytes };
}

interface ChosenDevice {
  readonly visible?: string;
  /** Undefined when nvidia-smi does not list it. */
  readonly found: Device | undefined;
}

/** How CUDA_VISIBLE_DEVICES names MIG instances of a GPU. */
const PART_OF_A_GPU = "MIG-";

function chooseDevice(
  device: number,
  known: readonly Device[],
  Missing: new (message: string) => KvScalesError,
): ChosenDevice {
  const setting = process.env.CUDA_VISIBLE_DEVICES;
  const visible = visibleDevice(device, setting);
  const found = visible === undefined ? undefined : findDevice(known, visible);
  const isListed = !visible?.startsWith(PART_OF_A_GPU);
  if (visible === undefined || (found === undefined && isListed && known.length > 0)) {
    const limits = setting === undefined ? "" : `, CUDA_VISIBLE_DEVICES=${setting}`;
    throw new Missing(`There is no device ${device} (${known.length} found by nvidia-smi${limits})`);
  }
  return { visible, found };
}
