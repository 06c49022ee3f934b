// Runs a program and measures it from outside: wall time, and the peaks of host and device memory. Knows neither program
// nor what they compute.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { messageOf } from "./bench-error.js";

const HOST_SAMPLING_MS = 20;
const DEVICE_SAMPLING_MS = 100;

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
    const [exitCode] = /** @type {[number | null]} */ (await once(child, "close").finally(host.stop));
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
      const kilobytes = Number(/VmHWM:\s+(\d+) kB/.exec(readProc(`${id}/status`))?.[1] ?? 0);
      peaks.set(id, Math.max(peaks.get(id) ?? 0, kilobytes * 1024));
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

/** A process and what its main thread started, and so on. @param {number} pid @returns {number[]} */
function processTree(pid) {
  const children = readProc(`${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return [pid, ...children.flatMap(processTree)];
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
  await Promise.race([once(child.stdout, "data"), once(child, "exit")]).catch((error) => {
    process.stderr.write(`Device memory is not measured: ${messageOf(error)}\n`);
  });
  return {
    peak: () => (before === undefined ? null : peak),
    stop: () => {
      child.kill();
    },
  };
}
