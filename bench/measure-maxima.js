// Measures the maxima per prompt of every cache site and side, for bench/serving-levels.js. Needs the built program; knows
// nothing of statistics.
//
//   node bench/measure-maxima.js CHECKPOINT PROMPTS OUTPUT.json [--sequence-length 2048]

import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeModel } from "../dist/architectures/registry.js";
import { openCheckpoint } from "../dist/checkpoint/open-checkpoint.js";
import { measureInProcesses } from "../dist/pipeline/measure-in-processes.js";
import { stopAll } from "../dist/pipeline/share-work.js";
import { startWorkers } from "../dist/pipeline/start-workers.js";
import { startTokenizerProcess } from "../dist/pipeline/tokenizer-process.js";
import { readPrompts } from "../dist/prompts/read-prompts.js";

/** Digits of a maximum: far more than float32 arithmetic on another processor would agree on. */
const DIGITS = 6;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { "sequence-length": { type: "string", default: "2048" } },
});
const [model, data, output] = positionals;
if (model === undefined || data === undefined || output === undefined) {
  throw new Error("Usage: node bench/measure-maxima.js CHECKPOINT PROMPTS OUTPUT.json [--sequence-length TOKENS]");
}
const folder = resolve(model);

const checkpoint = await openCheckpoint(folder);
const decoder = describeModel(checkpoint.config, checkpoint.tensors);
const { names, tokenIds } = await encode();
const workers = await startWorkers({ provider: "cpu", checkpoint, decoder });
try {
  const { ranges } = await measureInProcesses(workers, {
    ...{ checkpoint, decoder, tokenIds },
    onProgress: ({ layersDone, layers }) => process.stderr.write(`\r${layersDone} of ${layers} layers `),
  });
  const round = (/** @type {readonly number[]} */ maxima) => maxima.map((value) => Number(value.toPrecision(DIGITS)));
  const result = {
    prompts: names,
    lengths: tokenIds.map((ids) => ids.length),
    sides: ranges.flatMap(({ k, v }) => [round(k.perPrompt), round(v.perPrompt)]), // [2 · sites][prompts], K before V
  };
  writeFileSync(output, `${JSON.stringify(result)}\n`);
} finally {
  stopAll(workers);
}

/** In the order of the files, each prompt cut to the limit. */
async function encode() {
  const tokenizer = startTokenizerProcess({ folder });
  try {
    await tokenizer.open();
    /** @type {string[]} */
    const names = [];
    /** @type {(readonly number[])[]} */
    const tokenIds = [];
    const request = { opensAnswer: false, maxTokens: Number(values["sequence-length"]) };
    await tokenizer.encode(await readPrompts(data ?? ""), request, ({ ids }, { source }) => {
      if (ids.length === 0) return;
      names.push(source);
      tokenIds.push(ids);
    });
    return { names, tokenIds };
  } finally {
    tokenizer.stop();
  }
}
