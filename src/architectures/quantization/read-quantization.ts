// The quantization_config of config.json, or what hf_quant_config.json says in its place: which methods are read, which are
// refused and why, and which blocks speak only of the KV cache. Knows no tensor.

import { UnsupportedModelError } from "../../errors.js";
import { ModelConfig, shortJson } from "../model-config.js";
import { readAwq } from "./awq.js";
import { readCompressedTensors } from "./compressed-tensors.js";
import { readFbgemmFp8, readFp8 } from "./fp8.js";
import { readGptq } from "./gptq.js";
import { readModelOpt } from "./modelopt.js";
import { readMxfp4 } from "./mxfp4.js";
import type { MethodReading, Quantization } from "./quantization.js";

/** By quant_method. */
const METHODS: Readonly<Record<string, (block: ModelConfig) => MethodReading>> = {
  fp8: readFp8,
  fbgemm_fp8: readFbgemmFp8,
  "compressed-tensors": readCompressedTensors,
  modelopt: readModelOpt,
  modelopt_fp4: readModelOpt,
  mxfp4: readMxfp4,
  gptq: readGptq,
  awq: readAwq,
};

const KEY = "quantization_config";

/** Why a method is refused, where that is known. */
const REFUSED: Readonly<Record<string, string>> = {
  bitsandbytes: "its scales are for runs of weights across rows and quantized themselves, which is not read here",
};

/**
 * Reads what config.json says of quantized weights; undefined where it says nothing of weights.
 * @throws UnsupportedModelError for a method or a setting that is not read
 * @throws CheckpointError for a value that is not what its key is for
 */
export function readQuantization(config: ModelConfig): Quantization | undefined {
  const raw = config.peek(KEY);
  if (raw === undefined) return undefined;
  if (isOfCacheAlone(raw)) {
    config.raw(KEY);
    return undefined;
  }
  const block = config.object(KEY);
  const method = methodOf(block);
  const where = `${config.nameOf(KEY)} (${method})`;
  const read = Object.hasOwn(METHODS, method) ? METHODS[method] : undefined;
  if (read === undefined) throw refusal(config, method, raw);
  return { method, where, key: config.pathOf(KEY), ...read(block) };
}

/**
 * Reads the `quantization` of hf_quant_config.json, which is all that ModelOpt's older exports say of quantized weights.
 * Engines read it where config.json has no quantization_config. Undefined where it says nothing of weights.
 * @throws UnsupportedModelError for an algorithm that is not read, and for a key that is not understood
 * @throws CheckpointError for a value that is not what its key is for
 */
export function readModelOptFile(quantization: Readonly<Record<string, unknown>>): Quantization | undefined {
  if (isEmpty(quantization.quant_algo)) return undefined;
  const [file, key] = ["hf_quant_config.json", "quantization"] as const;
  const block = ModelConfig.ofFile(file, key, quantization);
  const reading = readModelOpt(block);
  const [unknown] = block.leftOver();
  if (unknown === undefined) return { method: "modelopt", where: `${file}: ${key}`, ...reading };
  throw new UnsupportedModelError(
    `${file}: ${unknown.path}: ${shortJson(unknown.value)} is not understood, and it may change K or V. Calibrate the 16-bit checkpoint that these weights were made from.`,
  );
}

/** Whether config.json has a quantization_config, of weights or of the cache alone. */
export function hasQuantizationConfig(config: ModelConfig): boolean {
  return config.has(KEY);
}

/** Some of ModelOpt's blocks do not name it. */
function methodOf(block: ModelConfig): string {
  if (!block.has("quant_method") && block.has("quant_algo")) return "modelopt";
  return block.string("quant_method", "unknown");
}

function refusal(config: ModelConfig, method: string, block: unknown): UnsupportedModelError {
  const why = Object.hasOwn(REFUSED, method) ? `: ${REFUSED[method]}` : "";
  const known = Object.keys(METHODS).join(", ");
  return new UnsupportedModelError(
    `${config.nameOf(KEY)}: ${shortJson(block)} is not understood: quant_method ${shortJson(method)} is not supported${why}; supported: ${known}. Calibrate the 16-bit checkpoint; if the block is a leftover over weights of 16 bits, accept it with --assume-harmless ${config.pathOf(KEY)}.`,
  );
}

/** As this program and others write it beside weights of 16 bits. */
function isOfCacheAlone(block: unknown): boolean {
  if (typeof block !== "object" || block === null || Array.isArray(block)) return false;
  const entries = new Map(Object.entries(block));
  switch (entries.get("quant_method")) {
    case "compressed-tensors":
      return isEmpty(entries.get("config_groups")) && isEmpty(entries.get("sparsity_config"));
    case "modelopt":
      return isEmpty(entries.get("quant_algo"));
    default:
      return false;
  }
}

function isEmpty(value: unknown): boolean {
  return (value ?? undefined) === undefined || (typeof value === "object" && Object.keys(value ?? {}).length === 0);
}
