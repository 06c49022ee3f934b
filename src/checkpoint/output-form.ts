// How a format's scales are written beside the weights of one checkpoint: a format has one form for weights of 16 bits,
// and that of the quantization method for others. Asks the engines' rules about the result before anything is computed.

import { join } from "node:path";
import { UnsupportedModelError } from "../errors.js";
import { roundUpToBfloat16 } from "../numerics/bits16.js";
import type { Float8Name } from "../numerics/float8.js";
import type { LayerScales } from "../numerics/scales.js";
import { hasForeignQuantization, patchConfigText } from "./config-text.js";
import { judgeScales } from "./engine-rules.js";
import type { EngineVerdict } from "./engine-verdicts.js";
import { formatWarnings, refusedByVllm, requireFormatOfModel } from "./format-obstacles.js";
import { isObject, parseJsonObject, parsePythonJsonObject, showJson } from "./json-text.js";
import { MODELOPT_FILE, modelOptQuantization, patchModelOptText } from "./model-opt-file.js";
import type { Checkpoint } from "./open-checkpoint.js";
import {
  conversionOf,
  type EngineCommand,
  OUTPUT_FORMATS,
  type OutputFormat,
  type OutputFormatName,
  type ScaleNames,
  scaleTensors,
  type TensorForm,
} from "./output-formats.js";
import { type Quantization, quantizationOf } from "./quantization-block.js";
import { contradictionOf, missingKeys, type QuantizedForm, quantizedForm, readsLikeFormat } from "./quantized-forms.js";
import { factsOfResult, type ScaleFacts } from "./scale-facts.js";
import { isScaleName } from "./scale-names.js";
import { readOptionalTextFile } from "./text-files.js";
import type { CheckpointContent } from "./write-checkpoint.js";

export interface OutputForm {
  readonly tensors: TensorForm;
  readonly configText: string;
  /** Files beside the weights that change, by name. */
  readonly sideTexts: CheckpointContent["sideTexts"];
  /** The engines that use the scales, as far as that is known. */
  readonly engines: readonly EngineCommand[];
  /** The scales as they are written: rounded up where an engine would round them. */
  readonly written: (scales: LayerScales) => LayerScales;
  /** The format of the same scales for engines that do not read this one. */
  readonly convertTo: OutputFormatName | undefined;
  /** Which engines do not use the scales, and why. */
  readonly warnings: readonly string[];
}

/**
 * The form of a format for a checkpoint.
 * @param names of the scales that will be written
 * @throws UnsupportedModelError when no engine that the format is for would use them, or the first does not load them,
 * or when the checkpoint declares another cache; CheckpointError for a file that cannot be read
 */
export async function chooseOutputForm(
  checkpoint: Checkpoint,
  format: OutputFormatName,
  dtype: Float8Name,
  names: ScaleNames,
): Promise<OutputForm> {
  const { folder, config, configText, tensors } = checkpoint;
  const modelOptPath = join(folder, MODELOPT_FILE);
  const modelOptText = await readOptionalTextFile(modelOptPath);
  const modelOpt = modelOptText === undefined ? undefined : parseJsonObject(modelOptPath, modelOptText);
  const found = quantizationOf(config, modelOptQuantization(modelOpt));
  const quantization = found?.key === "quantization_config" && !hasForeignQuantization(config) ? undefined : found;
  if (format === "vllm") requireBlock(config);
  requireFormatOfModel(format, config);
  const form = formOf(format, dtype, quantization);
  const patched = patchConfigText(configText, config, form.config);
  const patchedModelOpt = patchModelOptText(modelOptText ?? "", modelOpt, form.saysFp8);
  const facts = factsOfResult({
    tensorNames: [...tensors.keys()].filter((name) => !isScaleName(name)),
    config: parsePythonJsonObject("config.json", patched),
    modelOpt: modelOpt && parseJsonObject(modelOptPath, patchedModelOpt),
    scales: scaleTensors(form.tensors, [...names.keys()].map(placeholder), names),
  });
  const verdicts = form.engines.map((engine) => ({ engine, ...judgeScales(engine.rule, facts) }));
  const users = verdicts.filter(({ use }) => use === "used" || use === "unknown");
  const others = verdicts.filter((verdict) => !users.includes(verdict)).map(sayWhyNot);
  if (users.length === 0) throw nobodyReads(format, others);
  const isReadElsewhere = quantization === undefined || readsLikeFormat(quantization);
  const canConvert = isReadElsewhere && refusedByVllm(config) === undefined;
  return {
    tensors: form.tensors,
    configText: patched,
    sideTexts: new Map(
      patchedModelOpt === (modelOptText ?? "")
        ? []
        : [[MODELOPT_FILE, { text: patchedModelOpt, promisesScales: form.saysFp8 }]],
    ),
    engines: users.map(({ engine }) => engine),
    written: form.keptIn === "bfloat16" ? roundUp : (scales) => scales,
    convertTo: canConvert ? conversionOf(format) : undefined,
    warnings: [...others, ...formatWarnings(config), ...(format === "vllm" ? [] : halfReadByVllm(facts))],
  };
}

/** @throws UnsupportedModelError for a quantization_config that is no object: what it says is not known */
function requireBlock({ quantization_config: block }: Readonly<Record<string, unknown>>): void {
  if ((block ?? undefined) === undefined || isObject(block)) return;
  throw new UnsupportedModelError(`config.json: quantization_config: expected an object, found ${showJson(block)}`);
}

interface ChosenForm {
  readonly tensors: TensorForm;
  readonly engines: readonly EngineCommand[];
  /** Keys that config.json gets. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Whether hf_quant_config.json is to say that the cache is FP8. */
  readonly saysFp8: boolean;
  readonly keptIn: QuantizedForm["keptIn"];
}

function formOf(format: OutputFormatName, dtype: Float8Name, quantization: Quantization | undefined): ChosenForm {
  const { engines, config, ...tensors }: OutputFormat = OUTPUT_FORMATS[format];
  if (format !== "vllm" || quantization === undefined) {
    return { tensors, engines, config: config(dtype), saysFp8: false, keptIn: "float32" };
  }
  const contradiction = contradictionOf(quantization);
  if (contradiction !== undefined) {
    throw new UnsupportedModelError(
      `${contradiction}. Remove it to have an FP8 cache, or use --format tgi or tgi-separate, which leave it as it is.`,
    );
  }
  const form = quantizedForm(quantization);
  return { ...form, tensors: form, config: missingKeys(quantization), saysFp8: form.isOfModelOpt };
}

function placeholder(layer: number): LayerScales {
  return { layer, kScale: 0.5, vScale: 0.5, kvScale: 0.5 };
}

function roundUp({ layer, kScale, vScale, kvScale }: LayerScales): LayerScales {
  const [k, v, kv] = [kScale, vScale, kvScale].map(roundUpToBfloat16) as [number, number, number];
  return { layer, kScale: k, vScale: v, kvScale: kv };
}

function sayWhyNot({ engine, use, why }: EngineVerdict & { readonly engine: EngineCommand }): string {
  return `${engine.name} ${use === "refused" ? "refuses the result" : "does not use the scales"}: ${why}.`;
}

function nobodyReads(format: OutputFormatName, reasons: readonly string[]): UnsupportedModelError {
  const others = format === "vllm" ? " Use --format tgi or tgi-separate to serve it with TGI." : "";
  return new UnsupportedModelError(
    `No engine would use these scales in format ${format}: ${reasons.join(" ")}${others}`,
  );
}

/** vLLM reads kv_scale as K's, and runs V at 1.0. */
function halfReadByVllm(facts: ScaleFacts): string[] {
  const { layers } = judgeScales("vllm", facts);
  const isHalfRead = [...(layers?.values() ?? [])].some(({ k, v }) => k !== 1 && v === 1);
  if (!isHalfRead) return [];
  return [
    "config.json keeps a quantization_config that is not from this program: vLLM would take kv_scale for K alone. Serve the result with TGI only.",
  ];
}
