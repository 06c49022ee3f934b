// The benchmark: create-kv-scales and transformers side by side, in one run, on the same random checkpoint and tokens.
// README.md in this folder says what is measured and how.
//
//   npm run bench -- --provider cuda [-- options of create-kv-scales]

import { rmSync } from "node:fs";
import { appendFile, mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { BenchError } from "./bench-error.js";
import { SHAPES } from "./checkpoint-shapes.js";
import { prepareCheckpoint, writePrompts } from "./job-files.js";
import { describeMachine, gpuOfDevice, measureProductPeak, ownVersions } from "./machine.js";
import { createKvScales, transformers } from "./programs.js";
import { differenceText, resultMarkdown } from "./result-markdown.js";
import { rowsIn, rowText, tokensOf } from "./rows.js";
import { largestDifference, summarize, timeRatios } from "./summary.js";

/** bf16 moves an absmax by some percent; more than this is another result. */
const LARGEST_DIFFERENCE = 0.1;
/** Without --shape and --rows: what suits the device. */
const DEFAULTS = {
  cpu: { shape: "smollm2-135m", rows: "16x512,4x2048", dtype: "float32", batchTokens: 2048 },
  device: { shape: "llama-3-8b", rows: "128x512,32x2048", dtype: "bfloat16", batchTokens: 16384 },
};

/**
 * @typedef {import("./rows.js").Row} Row
 *
 * @typedef {object} Flags
 * @property {string} provider
 * @property {number} [device]
 * @property {string} [shape]
 * @property {number} [layers]
 * @property {number} [experts]
 * @property {Row[]} [rows]
 * @property {number} repeats
 * @property {string} [checkpoint]
 * @property {string} python
 * @property {string} [dtype]
 * @property {number} [batchTokens]
 * @property {boolean} [skipTransformers]
 * @property {boolean} [json]
 * @property {string} [append]
 *
 * @typedef {Flags & Required<Pick<Flags, "shape" | "rows" | "dtype" | "batchTokens">>} Settings
 */

const program = new Command("npm run bench --")
  .description("Measures create-kv-scales and transformers on the same random checkpoint and tokens.")
  .argument("[options...]", "after a further --: options of create-kv-scales, such as --memory 8GiB")
  .option("--provider <provider>", "where to compute, as in create-kv-scales; transformers follows: cpu or CUDA", "cpu")
  .option("--device <index>", "which GPU", parseCount)
  .addOption(new Option("--shape <shape>", "of the checkpoint (by the device)").choices(Object.keys(SHAPES)))
  .option("--layers <count>", "layers, if not all of the shape's", parsePositive)
  .option("--experts <count>", "experts of a layer, if not all of the shape's", parsePositive)
  .option("--rows <rows>", "prompts x tokens, such as 128x512,64x32-256 (by the device)", parseRows)
  .option("--repeats <count>", "runs of each program and row, in turns", parsePositive, 3)
  .option("--checkpoint <folder>", "keeps the random checkpoint there, and takes it from there the next time")
  .option("--python <command>", "Python with PyTorch and transformers", "python3")
  .addOption(
    new Option("--dtype <dtype>", "of transformers (by the device)").choices(["bfloat16", "float16", "float32"]),
  )
  .option("--batch-tokens <count>", "rows × width of a batch in transformers (by the device)", parsePositive)
  .option("--skip-transformers", "measures create-kv-scales alone: needs no Python")
  .option("--json", "prints the result as JSON")
  .option("--append <file>", "appends the result to a Markdown file, such as RESULTS.md")
  .action(main);

/** @param {string[]} options @param {Flags} flags */
async function main(options, flags) {
  const { shape, rows, dtype, batchTokens } = DEFAULTS[flags.provider === "cpu" ? "cpu" : "device"];
  const settings = { shape, rows: parseRows(rows), dtype, batchTokens, ...flags };
  const parent = flags.checkpoint === undefined ? tmpdir() : dirname(resolve(flags.checkpoint));
  await mkdir(parent, { recursive: true });
  const work = await mkdtemp(join(parent, "create-kv-scales-bench-"));
  const removeWork = () => rmSync(work, { recursive: true, force: true });
  for (const [signal, exitCode] of /** @type {const} */ ([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])) {
    process.once(signal, () => {
      removeWork();
      process.exit(exitCode);
    });
  }
  try {
    const result = await measure(settings, options, work);
    const text = resultMarkdown(result);
    process.stdout.write(settings.json ? `${JSON.stringify(result, null, 2)}\n` : text);
    const disagreeing = result.differences.find(({ relative }) => !(relative <= LARGEST_DIFFERENCE));
    if (disagreeing) throw new BenchError(`The two programs disagree on the absmax: ${differenceText(disagreeing)}`);
    if (settings.append !== undefined) await appendFile(settings.append, `\n${text}`);
  } finally {
    removeWork();
  }
}

/**
 * @param {Settings} settings @param {readonly string[]} options @param {string} work a folder for what is made
 * @returns {Promise<import("./result-markdown.js").BenchResult>}
 */
async function measure(settings, options, work) {
  const { provider, device, python, dtype, batchTokens, shape } = settings;
  const gpu = provider === "cpu" ? undefined : gpuOfDevice(device ?? 0);
  const torchDevice = gpu === undefined ? "cpu" : `cuda:${device ?? 0}`;
  // What is missing is found before the long work.
  const peak = settings.skipTransformers ? undefined : await measureProductPeak(python, torchDevice);
  const ours = createKvScales({ provider, device, options });
  await ours.check(work);
  const programs = peak ? [ours, transformers({ python, device: torchDevice, dtype, batchTokens })] : [ours];

  const checkpoint = resolve(settings.checkpoint ?? join(work, "checkpoint"));
  const config = await prepareCheckpoint(checkpoint, settings);
  const summaries = [];
  const differences = [];
  const ratios = [];
  for (const row of settings.rows) {
    const job = { checkpoint, output: work, gpu, ...row, ...(await writePrompts(work, row, config.vocab_size)) };
    /** @type {import("./programs.js").Run[][]} */
    const runs = programs.map(() => []);
    for (let repeat = 1; repeat <= settings.repeats; repeat++) {
      for (const [index, { name, run }] of programs.entries()) {
        process.stderr.write(`${rowText(row)}, run ${repeat} of ${settings.repeats}: ${name}\n`);
        const measured = await run(job);
        requireTokens(name, measured.tokens, row);
        runs[index]?.push(measured);
      }
    }
    const found = programs.map((which, index) =>
      summarize(which, row, runs[index] ?? [], { config, peak: peak?.flops_per_second }),
    );
    summaries.push(...found);
    const [first, second] = found;
    if (first && second) {
      differences.push({ ...row, ...largestDifference(first.absmax, second.absmax) });
      ratios.push({ ...row, ...timeRatios(runs[0] ?? [], runs[1] ?? []) });
    }
  }
  return {
    date: new Date().toISOString().slice(0, 10),
    command: ["npm run bench --", ...process.argv.slice(2).map(quoted)].join(" "),
    shape,
    layers: config.num_hidden_layers,
    experts: settings.experts ?? null,
    machine: await describeMachine(gpu),
    versions: { ...(await ownVersions()), ...versionsOf(peak) },
    repeats: settings.repeats,
    bf16Product: peak ? { size: peak.size, rounds: peak.rounds, flopsPerSecond: peak.flops_per_second } : null,
    rows: summaries,
    differences,
    ratios,
  };
}

/** @param {import("./machine.js").ProductPeak | undefined} peak */
function versionsOf(peak) {
  if (peak === undefined) return {};
  return { python: peak.python, torch: peak.torch, transformers: peak.transformers };
}

/** @param {string} name @param {number} found @param {Row} row */
function requireTokens(name, found, row) {
  if (found !== tokensOf(row))
    throw new BenchError(`${name} ran ${found} tokens instead of ${rowText(row)}: the rows are not comparable`);
}

/** @param {string} text */
function parseRows(text) {
  const rows = rowsIn(text);
  if (rows !== undefined) return rows;
  throw new InvalidArgumentError(`Expected prompts x tokens, such as 128x512 or 64x32-256; found "${text}".`);
}

/** @param {string} text */
function parsePositive(text) {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("Expected a positive integer.");
  return Number(text);
}

/** @param {string} text */
function parseCount(text) {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Expected a number from 0 on.");
  return Number(text);
}

/** As a shell needs it. @param {string} word */
function quoted(word) {
  return /^[\w./:,=@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  process.stderr.write(`Error: ${error.message}\n`);
  process.exitCode = 1;
}
