// From a provider and devices to processes that are ready to compute, each with its plan. Asks the driver what memory is
// free, and the system what cores there are; computes nothing.

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
import { type CoresRequest, planProcesses } from "./process-plan.js";
import { largestPartBytes } from "./segment-plan.js";
import type { Worker } from "./share-work.js";

export interface WorkersRequest {
  readonly provider: ProviderName;
  /** Numbers of devices, as the program's user sees them; the first one by default. */
  readonly devices?: readonly number[] | undefined;
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly memory?: number | undefined;
  /** Tokens to compute, about: whether they are worth several processes on the CPU. */
  readonly tokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts a process per device, or several that share the processor's cores. All have the same plan, so that what is
 * computed does not depend on where.
 * @param machine what is to be shared on the CPU, counted unless it is given
 * @throws UsageError when a device that was asked for is not there, ProviderError when there is none at all,
 * InterruptedError while the driver is asked
 */
export async function startWorkers(request: WorkersRequest, machine?: Machine): Promise<Worker[]> {
  if (!PROVIDERS[request.provider].usesDevice) return startOnCores(request, machine);
  return startOnDevices(await planOnDevices(request));
}

type Machine = Pick<CoresRequest, "cores" | "free">;

function machineHere(): Machine {
  return { cores: usableCores(), free: freeMemory() };
}

function startOnCores(request: WorkersRequest, machine = machineHere()): Worker[] {
  const { decoder, memory, tokens = 0 } = request;
  const layerBytes = largestPartBytes(decoder, { layerBytes: defaultLayerBytes(memory), elementType: "float32" });
  const { processes, threads } = planProcesses({ ...machine, tokens, layerBytes, memory });
  const plan = planCompute({ ...request, memory: memory && Math.floor(memory / processes) });
  return Array.from({ length: processes }, () => ({ process: startComputeProcess({ threads }), plan }));
}

/** Starts what was planned: a process per device. */
export function startOnDevices({ chosen, plan }: DevicesPlan): Worker[] {
  return chosen.map(({ visible }) => ({ process: startComputeProcess({ visibleDevice: visible }), plan }));
}

export interface DevicesPlan {
  readonly plan: ComputePlan;
  readonly chosen: readonly ChosenDevice[];
  /** Free bytes of the device that has fewest; undefined where the driver's tool lists none. */
  readonly freeBytes: number | undefined;
}

/** What startWorkers starts on devices. @throws UsageError, ProviderError: as startWorkers */
export async function planOnDevices(request: WorkersRequest): Promise<DevicesPlan> {
  const { provider, devices, signal } = request;
  const { choosesDevice } = PROVIDERS[provider];
  const known = await untilInterrupted(signal, nvidiaDevices());
  // Where nobody asked for a device by its number, that there is none is no wrong usage.
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
  /** Undefined when the driver's tool does not list it. */
  readonly found: Device | undefined;
}

/** How CUDA_VISIBLE_DEVICES names the instances that a GPU is divided into. */
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
