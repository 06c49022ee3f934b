// The two programs that are compared: how each is called, and what it says of itself. Both get the same checkpoint and
// the same tokens, and both write scales.

import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BenchError, messageOf } from "./bench-error.js";
import { reasonIn } from "./machine.js";
import { runMeasured } from "./measured-process.js";

const PROGRAM = fileURLToPath(new URL("../bin/create-kv-scales.js", import.meta.url));
const COMPETITOR = fileURLToPath(new URL("./transformers_absmax.py", import.meta.url));

/**
 * @typedef {{ k: number, v: number }} LayerAbsmax
 *
 * @typedef {object} Run one run of one program
 * @property {number} wallSeconds from process start to the written result
 * @property {number} loadSeconds weights brought to where they are used
 * @property {number} computeSeconds forward passes
 * @property {number} tokens
 * @property {number | null} hostPeakBytes
 * @property {number | null} devicePeakBytes
 * @property {LayerAbsmax[]} absmax
 *
 * @typedef {object} Job
 * @property {string} checkpoint
 * @property {string} promptsFile text, one prompt a line
 * @property {string} tokensFile the same as JSON, [prompts][tokens]
 * @property {number} prompts
 * @property {number} tokens of each prompt
 * @property {string} output folder for results, on the checkpoint's file system
 * @property {string | undefined} gpu to watch
 *
 * @typedef {object} Program
 * @property {string} name
 * @property {string} how provider and number format, for the table
 * @property {(job: Job) => Promise<Run>} run
 * @property {"keys-values" | "layer"} lastLayer what it computes of the last layer
 *
 * @typedef {{ tokens: number, timing: OurTiming, layers: { k_absmax: number, v_absmax: number }[] }} OurJson
 * @typedef {{ open_seconds: number, compute_seconds: number }} OurTiming
 * @typedef {{ tokens: number, load_seconds: number, compute_seconds: number, absmax: LayerAbsmax[] }} TheirJson
 */

/**
 * This program. Of the last layer, it computes K and V alone.
 * @param {{ provider: string, device: number | undefined, options: readonly string[] }} settings options: passed on
 * @returns {Program & { check: (output: string) => Promise<void> }} check: a run on the embedded example, which tells early that the
 * provider or an option is not there, and brings its libraries into the page cache
 */
export function createKvScales({ provider, device, options }) {
  const passed = ["--provider", provider, ...(device === undefined ? [] : ["--device", `${device}`]), ...options];
  return {
    name: "create-kv-scales",
    how: [provider, ...options].join(" "),
    lastLayer: "keys-values",
    async check(output) {
      const folder = join(output, "example");
      await start(
        process.execPath,
        [PROGRAM, "--example", "-o", folder, "--samples", "1", "--json", ...passed],
        undefined,
      );
      await rm(folder, { recursive: true });
    },
    async run({ checkpoint, promptsFile, prompts, tokens, output, gpu }) {
      const folder = join(output, "create-kv-scales");
      const limits = ["--samples", `${prompts}`, "--sequence-length", `${tokens}`];
      const args = [PROGRAM, checkpoint, "-o", folder, "--data", promptsFile, ...limits, "--json", ...passed];
      const { stdout, ...measured } = await start(process.execPath, args, gpu);
      await rm(folder, { recursive: true });
      /** @type {OurJson} */
      const result = JSON.parse(stdout);
      return {
        ...measured,
        tokens: result.tokens,
        loadSeconds: result.timing.open_seconds,
        computeSeconds: result.timing.compute_seconds,
        absmax: result.layers.map(({ k_absmax: k, v_absmax: v }) => ({ k, v })),
      };
    },
  };
}

/**
 * PyTorch and transformers. The whole last layer is computed: the library has no way not to.
 * @param {{ python: string, device: string, dtype: string, batchTokens: number }} settings
 * @returns {Program}
 */
export function transformers({ python, device, dtype, batchTokens }) {
  return {
    name: "transformers",
    how: `${device} ${dtype}`,
    lastLayer: "layer",
    async run({ checkpoint, tokensFile, output, gpu }) {
      const file = join(output, "transformers.safetensors");
      const settings = ["--device", device, "--dtype", dtype, "--batch-tokens", `${batchTokens}`];
      const { stdout, ...measured } = await start(python, [COMPETITOR, checkpoint, tokensFile, file, ...settings], gpu);
      await readFile(file); // it is the result: without it nothing was measured
      await rm(file);
      /** @type {TheirJson} */
      const result = JSON.parse(stdout);
      return {
        ...measured,
        tokens: result.tokens,
        loadSeconds: result.load_seconds,
        computeSeconds: result.compute_seconds,
        absmax: result.absmax,
      };
    },
  };
}

/** @param {string} command @param {readonly string[]} args @param {string | undefined} gpu */
async function start(command, args, gpu) {
  const { exitCode, stderr, ...measured } = await runMeasured(command, args, { gpu }).catch((error) => {
    throw new BenchError(`${command} could not be started: ${messageOf(error)}`);
  });
  if (exitCode !== 0)
    throw new BenchError(`${[command, ...args].join(" ")}\nended with ${exitCode}: ${reasonIn(stderr)}`);
  return measured;
}
