// What a result was measured on and with: processor, GPU, versions. Reads them, never sets them.

import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { availableParallelism, cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BenchError, messageOf } from "./bench-error.js";

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const REPOSITORY = fileURLToPath(new URL("..", import.meta.url));
/** A bf16 product of this size keeps a data-center GPU busy for milliseconds; a processor gets a smaller one. */
const PRODUCT_SIZE = { device: 8192, cpu: 2048 };

/**
 * @typedef {object} Machine
 * @property {string} cpu
 * @property {number} cores that this process may use
 * @property {number} memoryBytes
 * @property {string | null} gpu null without one, or without nvidia-smi
 * @property {string | null} driver
 *
 * @typedef {object} ProductPeak
 * @property {number} size rows and columns of both matrices
 * @property {number} flops_per_second median
 * @property {number} rounds
 * @property {string} python
 * @property {string} torch
 * @property {string | null} cuda that PyTorch was built with
 * @property {string} transformers
 */

/** @param {string | undefined} gpu as nvidia-smi calls it @returns {Promise<Machine>} */
export async function describeMachine(gpu) {
  const [name, driver] = gpu === undefined ? [] : await queryGpu(gpu);
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    gpu: name ?? null,
    driver: driver ?? null,
  };
}

/** @param {string} gpu @returns {Promise<string[]>} name and driver; empty without nvidia-smi */
async function queryGpu(gpu) {
  try {
    const query = ["--query-gpu=name,driver_version", "--format=csv,noheader", "-i", gpu];
    return (await run("nvidia-smi", query)).stdout.trim().split(", ");
  } catch (error) {
    process.stderr.write(`nvidia-smi says nothing about GPU ${gpu}: ${messageOf(error)}\n`);
    return [];
  }
}

/**
 * nvidia-smi's name of CUDA's device `index`: its own number, unless CUDA_VISIBLE_DEVICES chooses and renumbers.
 * @param {number} index
 */
export function gpuOfDevice(index) {
  return process.env.CUDA_VISIBLE_DEVICES?.split(",")[index]?.trim() || String(index);
}

/** Versions of this program and what it stands on; the commit where there is one. */
export async function ownVersions() {
  const own = /** @type {{ version: string }} */ (require("../package.json")).version;
  const commit = await run("git", ["-C", REPOSITORY, "describe", "--always", "--dirty"]).then(
    ({ stdout }) => ` (${stdout.trim()})`,
    () => "",
  );
  const runtime = /** @type {{ version: string }} */ (require("onnxruntime-node/package.json")).version;
  return { "create-kv-scales": `${own}${commit}`, onnxruntime: runtime, node: process.versions.node };
}

/**
 * Measures the device's bf16 product in PyTorch. Also finds out whether Python, PyTorch, transformers and the device are
 * there, and loads their files into the page cache.
 * @param {string} python @param {string} device such as cuda:0 or cpu
 * @returns {Promise<ProductPeak>}
 * @throws BenchError saying what is missing
 */
export async function measureProductPeak(python, device) {
  const script = fileURLToPath(new URL("./matmul_peak.py", import.meta.url));
  const size = device === "cpu" ? PRODUCT_SIZE.cpu : PRODUCT_SIZE.device;
  const env = { ...process.env, CUDA_DEVICE_ORDER: "PCI_BUS_ID" };
  try {
    const { stdout } = await run(python, [script, "--device", device, "--size", `${size}`], { env });
    return /** @type {ProductPeak} */ (JSON.parse(stdout));
  } catch (cause) {
    const { code, stderr } = /** @type {{ code?: unknown, stderr?: string }} */ (cause);
    const reason = code === "ENOENT" ? "not found" : reasonIn(stderr ?? "") || messageOf(cause);
    throw new BenchError(
      `${python}: ${reason}. The comparison needs a Python with PyTorch, transformers and ${device} (--python names it); --skip-transformers measures create-kv-scales alone.`,
    );
  }
}

/** What a program says it failed for: its line that begins with "error", or else its last. @param {string} stderr */
export function reasonIn(stderr) {
  const lines = stderr.trim().split("\n");
  return lines.findLast((line) => /^error: /i.test(line)) ?? lines.at(-1) ?? "";
}
