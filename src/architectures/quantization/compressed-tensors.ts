// quant_method "compressed-tensors": releases of llm-compressor and Red Hat. Groups of modules, each with its own form.

import { UnsupportedModelError } from "../../errors.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { readBlockSize } from "./block-size.js";
import { float8Form, mxfp4Form, nvfp4Form, pairsOfInputs } from "./float-forms.js";
import { int8Form, packedForm } from "./integer-forms.js";
import { namedModules } from "./module-names.js";
import type { MethodReading } from "./quantization.js";
import { EXPONENT_DTYPES, type ScaleForm, type StoredForm } from "./stored-form.js";

/** Tensors beside a weight that say how activations are quantized, and what older versions stored for the KV cache. */
const OF_ACTIVATIONS = [
  ...["input_scale", "input_zero_point", "input_global_scale"],
  ...["output_scale", "output_zero_point"],
];

interface Group {
  readonly targets: readonly string[];
  readonly form: StoredForm;
  readonly where: string;
}

/** @throws UnsupportedModelError for a form that is not read, and for weights that are sparse or rotated */
export function readCompressedTensors(block: ModelConfig): MethodReading {
  block.ignore("kv_cache_scheme", "of the KV cache");
  block.ignore("global_compression_ratio", "a figure for people");
  block.ignore("version", "of the program that wrote it");
  block.ignoreIf("quantization_status", ["compressed", "frozen"], "the dtypes of the tensors say it");
  const format = block.string("format", "fakequant");
  requireRotatedWeights(block);
  const ignored = block.optionalStrings("ignore") ?? [];
  const groups = block.object("config_groups");
  const read = groups.keys().map((name) => readGroup(groups.object(name), format));
  const found = read.flatMap(({ group }) => group ?? []);
  return {
    activations: read.some(({ activations }) => activations),
    formsOf: (modules) => {
      const left = namedModules(modules, ignored, "compressed-tensors", block.nameOf("ignore"));
      const matrices = modules.filter((module) => !left.has(module));
      // Of what matches a module, a name counts before an expression, and that before "Linear".
      const byClass = found.flatMap(({ targets, form }) => (targets.includes("Linear") ? [form] : []));
      const forms = new Map(matrices.flatMap((module) => (byClass[0] === undefined ? [] : [[module, byClass[0]]])));
      for (const isExpression of [true, false]) {
        for (const { targets, form, where } of found) {
          const some = targets.filter((target) => target.startsWith("re:") === isExpression);
          for (const module of namedModules(matrices, some, "compressed-tensors", where)) forms.set(module, form);
        }
      }
      return forms;
    },
  };
}

/** Rotations that are in the weights already change nothing else; others engines apply to activations, or to K. */
function requireRotatedWeights(block: ModelConfig): void {
  const groups = block.optionalObject("transform_config")?.optionalObject("config_groups");
  for (const name of groups?.keys() ?? []) {
    const places = groups?.object(name).raw("apply");
    for (const key of ["head_dim", "precision", "randomize", "requires_grad", "type"]) {
      groups?.object(name).ignore(key, "of a rotation that is in the weights");
    }
    if (Array.isArray(places) && places.every(isInWeights)) continue;
    throw new UnsupportedModelError(
      `${groups?.nameOf(name)}: ${shortJson(places)} is not supported: engines would rotate activations. Calibrate the 16-bit checkpoint that these weights were made from.`,
    );
  }
}

function isInWeights(place: unknown): boolean {
  if (typeof place !== "object" || place === null || !("location" in place)) return false;
  return place.location === "weight_input" || place.location === "weight_output";
}

function readGroup(config: ModelConfig, format: string) {
  config.ignore("output_activations", "activations are not quantized here");
  config.ignore("input_activations", "activations are not quantized here");
  const activations = config.has("input_activations");
  const targets = config.optionalStrings("targets") ?? [];
  const weights = config.optionalObject("weights");
  if (weights === undefined) return { activations, group: undefined };
  const form = readForm(weights, config.has("format") ? config.string("format") : format);
  return { activations, group: { targets, form, where: config.nameOf("targets") } satisfies Group };
}

/** How a group says that weights are quantized. */
interface WeightArguments {
  /** The number's type and bits, such as "float 8". */
  readonly type: string;
  readonly strategy: string;
  readonly groupSize: number | undefined;
  readonly block: readonly [outputs: number, inputs: number] | undefined;
  readonly symmetric: boolean;
}

/** By format; undefined for arguments that it has no tensors for. */
const FORMATS: Readonly<Record<string, (weights: WeightArguments) => StoredForm | undefined>> = {
  "float-quantized": float8,
  "naive-quantized": (weights) => float8(weights) ?? int8(weights),
  "int-quantized": int8,
  "pack-quantized": packed,
  "mxfp8-quantized": ({ type, groupSize = 0 }) =>
    type === "float 8" && groupSize > 0
      ? float8Form({ suffixes: ["_scale"], per: [1, groupSize], dtypes: EXPONENT_DTYPES }, OF_ACTIVATIONS)
      : undefined,
  "nvfp4-pack-quantized": ({ type, groupSize }) =>
    type === "float 4" && groupSize === 16
      ? nvfp4Form({ codes: "_packed", global: "_global_scale" }, "divisor", OF_ACTIVATIONS)
      : undefined,
  "mxfp4-pack-quantized": ({ type, groupSize }) =>
    type === "float 4" && groupSize === 32
      ? mxfp4Form({ suffix: "_packed", dtypes: ["U8"], shape: pairsOfInputs }, "_scale", OF_ACTIVATIONS)
      : undefined,
};

function float8(weights: WeightArguments): StoredForm | undefined {
  const per = sharedBy(weights);
  const isRead = weights.type === "float 8" && weights.symmetric;
  return isRead && per !== undefined ? float8Form({ suffixes: ["_scale"], per }, OF_ACTIVATIONS) : undefined;
}

/** A byte for each integer. */
function int8(weights: WeightArguments): StoredForm | undefined {
  const settings = integersOf(weights);
  return settings && int8Form(settings, OF_ACTIVATIONS);
}

/** Several integers in a word. */
function packed(weights: WeightArguments): StoredForm | undefined {
  const settings = integersOf(weights);
  return settings?.bits === 4 || settings?.bits === 8 ? packedForm(settings, settings.bits, OF_ACTIVATIONS) : undefined;
}

function integersOf(weights: WeightArguments) {
  const per = sharedBy(weights);
  const [, bits] = /^int ([2-8])$/.exec(weights.type) ?? [];
  if (bits === undefined || per === undefined || weights.block !== undefined) return undefined;
  return { bits: Number(bits), per, hasZeroPoints: !weights.symmetric };
}

/** What shares a scale. */
function sharedBy({ strategy, groupSize = 0, block }: WeightArguments): ScaleForm["per"] | undefined {
  if (strategy === "tensor") return "tensor";
  if (strategy === "channel") return "output";
  if (strategy === "group" && groupSize > 0) return [1, groupSize];
  return strategy === "block" ? block : undefined;
}

function readForm(weights: ModelConfig, format: string): StoredForm {
  for (const key of ["observer", "observer_kwargs"]) weights.ignore(key, "how the scales were found");
  for (const key of ["scale_dtype", "zp_dtype"]) weights.ignore(key, "the dtype of the tensors says it");
  weights.ignoreIf("dynamic", [undefined, false], "the scales are stored");
  // Of "group", inputs of a group are no neighbours: compressed-tensors and vLLM have given that up.
  weights.ignoreIf("actorder", [undefined, false, "weight", "static"], "inputs are in their places");
  const read = readArguments(weights);
  const form = Object.hasOwn(FORMATS, format) ? FORMATS[format]?.(read) : undefined;
  if (form !== undefined) return form;
  const asymmetric = read.symmetric ? "" : ", not symmetric,";
  throw new UnsupportedModelError(
    `${weights.nameOf("num_bits")}: weights of ${read.type} bits by ${read.strategy}${asymmetric} in the format ${shortJson(format)} are not supported; supported formats: ${Object.keys(FORMATS).join(", ")}. Calibrate the 16-bit checkpoint that these weights were made from.`,
  );
}

/** What is absent follows from what is there, as in compressed-tensors. */
function readArguments(weights: ModelConfig): WeightArguments {
  const groupSize = weights.has("group_size") ? weights.number("group_size") : undefined;
  if (groupSize === undefined) weights.ignore("group_size", "null: no groups");
  const inferred = groupSize === undefined ? "tensor" : groupSize > 0 ? "group" : "channel";
  const block = weights.has("block_structure") ? readBlockSize(weights, "block_structure") : undefined;
  return {
    type: `${weights.string("type", "int")} ${weights.positiveInteger("num_bits", 8)}`,
    ...{ strategy: weights.string("strategy", inferred), groupSize, block },
    symmetric: weights.boolean("symmetric", true),
  };
}
