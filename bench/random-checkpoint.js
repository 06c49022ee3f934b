// Makes a checkpoint of a given shape with random weights in bf16, or in MXFP4 where the shape has them, straight to disk: for measuring memory and speed on
// shapes whose trained weights are not at hand. Its tokenizer is that of the embedded example. Knows no calibration.
//
//   node bench/random-checkpoint.js FOLDER SHAPE [LAYERS]      SHAPE: one of those in checkpoint-shapes.js

import { copyFile, mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SHAPES, tensorsOfLayer } from "./checkpoint-shapes.js";

const BLOCK_ELEMENTS = 2 ** 24;
/** They are all 1. */
const NORM_ELEMENTS = 2 ** 16;
/** A layer of experts is a shard by itself, several small layers are one. */
const BYTES_PER_SHARD = 2 ** 31;

/** @typedef {import("./checkpoint-shapes.js").Shape} Shape @typedef {import("./checkpoint-shapes.js").Tensor} Tensor */

/**
 * Writes config.json, shards, index and tokenizer.
 * @param {string} folder @param {Shape} config
 */
export async function makeRandomCheckpoint(folder, config) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
  const example = fileURLToPath(new URL("../examples/tiny-llama", import.meta.url));
  for (const name of ["tokenizer.json", "tokenizer_config.json"])
    await copyFile(join(example, name), join(folder, name));
  const shards = shardsOf(config);
  const random = randomBlock();
  const hasCodes = shards.flat().some(([, , dtype]) => dtype === "U8");
  const coded = hasCodes ? random : random.subarray(0, 0);
  // Made once for all shards, and only if they are needed: scaling takes a second, codes take two.
  const blocks = {
    norm: scaled(random.subarray(0, NORM_ELEMENTS), 0, 1),
    weight: scaled(random, 1 / Math.sqrt(config.hidden_size), 0),
    codes: Buffer.from(Uint8Array.from(coded, (value) => Math.floor(Math.abs(value) * 2 ** 20) & 255)),
    exponents: Buffer.alloc(coded.length, exponentFor(1 / Math.sqrt(config.hidden_size))),
  };
  /** @type {Record<string, string>} */
  const weightMap = {};
  let totalSize = 0;
  for (const [index, tensors] of shards.entries()) {
    const name = `model-${String(index + 1).padStart(5, "0")}-of-${String(shards.length).padStart(5, "0")}.safetensors`;
    totalSize += await writeShard(join(folder, name), tensors, blocks);
    for (const [tensor] of tensors) weightMap[tensor] = name;
  }
  const index = { metadata: { total_size: totalSize }, weight_map: weightMap };
  await writeFile(join(folder, "model.safetensors.index.json"), `${JSON.stringify(index, null, 2)}\n`);
}

/** @param {Shape} config @returns {Tensor[][]} */
function shardsOf(config) {
  const { hidden_size: hidden, vocab_size: vocabulary } = config;
  /** @type {Tensor[]} */
  const before = [
    ["model.embed_tokens.weight", [vocabulary, hidden]],
    ["model.norm.weight", [hidden]],
  ];
  const shards = [before];
  let bytes = Number.POSITIVE_INFINITY;
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const tensors = tensorsOfLayer(config, layer);
    const size = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    if (bytes + size > BYTES_PER_SHARD) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)?.push(...tensors);
    bytes += size;
  }
  if (!config.tie_word_embeddings) shards.push([["lm_head.weight", [vocabulary, hidden]]]);
  return shards;
}

/** Normally distributed bf16 values, standard deviation 1: float32 cut to its upper half. */
function randomBlock() {
  const floats = new Float32Array(BLOCK_ELEMENTS);
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 2 ** 32;
  };
  for (let i = 0; i < BLOCK_ELEMENTS; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(random()));
    const angle = 2 * Math.PI * random();
    floats[i] = radius * Math.cos(angle);
    floats[i + 1] = radius * Math.sin(angle);
  }
  return floats;
}

/**
 * @param {string} path @param {Tensor[]} tensors
 * @param {{ norm: Buffer, weight: Buffer, codes: Buffer, exponents: Buffer }} blocks bf16 values and bytes
 * @returns the bytes of the tensors
 */
async function writeShard(path, tensors, { norm, weight, codes, exponents }) {
  /** @type {Record<string, unknown>} */
  const header = { __metadata__: { format: "pt" } };
  let bytes = 0;
  for (const tensor of tensors) {
    const [name, dimensions, dtype = "BF16"] = tensor;
    const size = bytesOf(tensor);
    header[name] = { dtype, shape: dimensions, data_offsets: [bytes, bytes + size] };
    bytes += size;
  }
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, "w");
  await file.write(Buffer.concat([prefix, json]));
  for (const [index, tensor] of tensors.entries()) {
    const [name, , dtype] = tensor;
    const bytes = name.endsWith("_scales") ? exponents : codes;
    const block = dtype === "U8" ? bytes : name.endsWith("norm.weight") ? norm : weight;
    let left = bytesOf(tensor);
    // Another start for each tensor, so that no two are equal.
    let start = (index * 7919 * 2) % (block.length / 2);
    while (left > 0) {
      const chunk = block.subarray(start, Math.min(start + left, block.length));
      await file.write(chunk);
      left -= chunk.length;
      start = 0;
    }
  }
  await file.close();
  return bytes;
}

/** @param {Float32Array} random @param {number} deviation @param {number} mean */
function scaled(random, deviation, mean) {
  const floats = random.map((value) => value * deviation + mean);
  const halves = new Uint16Array(floats.length);
  const words = new Uint32Array(floats.buffer);
  for (let i = 0; i < words.length; i++) halves[i] = (words[i] ?? 0) >>> 16;
  return Buffer.from(halves.buffer);
}

/** Of FP4 codes at random, whose root mean square is 2.9, for numbers of a standard deviation. @param {number} deviation */
function exponentFor(deviation) {
  return Math.round(Math.log2(deviation / 2.9)) + 127;
}

/** @param {Tensor} tensor */
function bytesOf([, dimensions, dtype]) {
  return (dtype === "U8" ? 1 : 2) * product(dimensions);
}

/** @param {number[]} dimensions */
function product(dimensions) {
  return dimensions.reduce((a, b) => a * b, 1);
}

const [, script, folder, name, layers] = process.argv;
if (script === fileURLToPath(import.meta.url)) {
  const config = Object.entries(SHAPES).find(([key]) => key === name)?.[1];
  if (folder === undefined || config === undefined) {
    console.error(`Usage: node bench/random-checkpoint.js FOLDER ${Object.keys(SHAPES).join("|")} [LAYERS]`);
    process.exitCode = 2;
  } else {
    await makeRandomCheckpoint(folder, { ...config, num_hidden_layers: Number(layers ?? config.num_hidden_layers) });
  }
}
