// Runs a program and measures it from outside: wall time, and the peaks of host and device memory. Knows neither program
// nor what they compute.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "./bench-error.js";

const HOST_SAMPLING_MS = 20;
const DEVICE_SAMPLING_MS = 100;
/** Without its daemon, the driver takes seconds to start. */
const DEVICE_PATIENCE_MS = 20_000;

/**
 * @typedef {object} MeasuredProcess
 * @property {number | null} exitCode null when a signal ended it
 * @property {string} stdout
 * @property {string} stderr
 * @property {number} wallSeconds from the start of the process to its end
 * @property {number | null} hostPeakBytes sum of the peaks of its processes (VmHWM); null without /proc
 * @property {number | null} devicePeakBytes beyond what was used before; null without nvidia-smi
 */

/**
 * Runs a program to its end. The environment is this process's, with CUDA's device numbers being those of nvidia-smi.
 * @param {string} command @param {readonly string[]} args
 * @param {{ gpu?: string | undefined }} [options] gpu: which one to watch, as nvidia-smi calls it
 * @returns {Promise<MeasuredProcess>}
 * @throws the error of spawn, such as ENOENT
 */
export async function runMeasured(command, args, { gpu } = {}) {
  const device = gpu === undefined ? undefined : await watchDevice(gpu);
  try {
    const start = performance.now();
    const child = spawn(command, args, {
      env: { ...process.env, CUDA_DEVICE_ORDER: "PCI_BUS_ID" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const endWithUs = () => child.kill();
    process.once("exit", endWithUs);
    const host = watchHost(child.pid);
    let [stdout, stderr, wallSeconds] = ["", "", 0];
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    child.on("exit", () => {
      wallSeconds = (performance.now() - start) / 1000;
    });
    const [exitCode] = /** @type {[number | null]} */ (
      await once(child, "close").finally(() => {
        host.stop();
        process.off("exit", endWithUs);
      })
    );
    return {
      exitCode,
      stdout,
      stderr,
      wallSeconds,
      hostPeakBytes: host.peak(),
      devicePeakBytes: device?.peak() ?? null,
    };
  } finally {
    device?.stop();
  }
}

/**
 * Peak resident memory of a process and its descendants, by looking again and again: the kernel keeps each peak, so only
 * what a process reaches in its last moment can be missed.
 * @param {number | undefined} pid
 */
function watchHost(pid) {
  /** @type {Map<number, number>} */
  const peaks = new Map();
  const look = () => {
    for (const id of pid === undefined ? [] : processTree(pid)) {
      const status = readProc(`${id}/status`);
      // Some sandboxes have no VmHWM; the samples of VmRSS are then the best there is.
      const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(status) ?? /VmRSS:\s+(\d+) kB/.exec(status) ?? [];
      peaks.set(id, Math.max(peaks.get(id) ?? 0, Number(kilobytes ?? 0) * 1024));
    }
  };
  const timer = setInterval(look, HOST_SAMPLING_MS);
  return {
    stop: () => clearInterval(timer),
    peak() {
      const sum = [...peaks.values()].reduce((a, b) => a + b, 0);
      return sum === 0 ? null : sum;
    },
  };
}

/** A process and its descendants. @param {number} pid @returns {number[]} */
function processTree(pid) {
  return [pid, ...childrenOf(pid).flatMap(processTree)];
}

/** What the process's main thread started; where the kernel keeps no such list, by asking each process. @param {number} pid */
function childrenOf(pid) {
  const list = `${pid}/task/${pid}/children`;
  if (existsSync(`/proc/${list}`)) return readProc(list).split(" ").filter(Boolean).map(Number);
  const parentOf = (/** @type {string} */ id) => Number(/^PPid:\s+(\d+)/m.exec(readProc(`${id}/status`))?.[1]);
  return readNames("/proc").flatMap((id) => (/^\d+$/.test(id) && parentOf(id) === pid ? [Number(id)] : []));
}

/** @param {string} folder */
function readNames(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** @param {string} path */
function readProc(path) {
  try {
    return readFileSync(`/proc/${path}`, "utf8");
  } catch {
    return "";
  }
}

/**
 * Watches the memory used on a device by whatever process: in a container, nvidia-smi cannot tell whose it is.
 * @param {string} gpu
 */
async function watchDevice(gpu) {
  const query = [
    "--query-gpu=memory.used",
    "--format=csv,noheader,nounits",
    "-i",
    gpu,
    "-lms",
    `${DEVICE_SAMPLING_MS}`,
  ];
  const child = spawn("nvidia-smi", query, { stdio: ["ignore", "pipe", "ignore"] });
  /** @type {number | undefined} */
  let before;
  const stop = () => child.kill();
  process.once("exit", stop);
  let peak = 0;
  let rest = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (/** @type {string} */ text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const bytes = Number.parseFloat(line) * 2 ** 20;
      if (Number.isNaN(bytes)) continue;
      before ??= bytes;
      peak = Math.max(peak, bytes - before);
    }
  });
  // What was used before is known once the first sample has come.
  const started = await Promise.race([
    once(child.stdout, "data").then(() => ""),
    once(child, "exit").then(([exitCode]) => `nvidia-smi ended with ${exitCode}`, messageOf),
    sleep(DEVICE_PATIENCE_MS, "nvidia-smi says nothing", { ref: false }),
  ]);
  if (started !== "") process.stderr.write(`Device memory is not measured: ${started}\n`);
  return {
    peak: () => (before === undefined ? null : peak),
    stop() {
      process.off("exit", stop);
      stop();
    },
  };
}
