// The story of an inspection: survey the folder, read the scales, ask every engine's rule, look for problems. Changes
// nothing, prints nothing.

import { ENGINE_NAMES, type EngineName } from "../checkpoint/engine-names.js";
import { ENGINES, judgeScales } from "../checkpoint/engine-rules.js";
import type { OnFnuz, ScaleUse, SideScale } from "../checkpoint/engine-verdicts.js";
import { type ScaleTensor, scalesByAttention } from "../checkpoint/read-scales.js";
import { gatherScaleFacts, type ScaleFacts } from "../checkpoint/scale-facts.js";
import { findScaleProblems, type ProblemKind } from "../checkpoint/scale-problems.js";
import { surveyCheckpoint } from "../checkpoint/survey-checkpoint.js";
import { untilInterrupted } from "../interrupts.js";
import type { CalibrationProgress } from "./calibration-result.js";
import { requireKnownOptions } from "./known-options.js";
import { locateModel } from "./locate-model.js";
import type { ModelOptions } from "./run-options.js";
import { readScaleRecord } from "./scale-record.js";

export interface InspectOptions extends ModelOptions {
  /**
   * Called while the work goes on, often; what it throws ends the run.
   * @defaultValue none
   */
  readonly onProgress?: ((progress: CalibrationProgress) => void) | undefined;
}

export interface InspectedLayer {
  readonly layer: number;
  /** Name of its attention. */
  readonly name: string;
  readonly scales: readonly ScaleTensor[];
}

export interface InspectedEngine {
  readonly engine: EngineName;
  readonly name: string;
  readonly use: ScaleUse;
  readonly why: string;
  /** The fate of used scales on AMD MI300; undefined if it is not known. */
  readonly onFnuz?: OnFnuz | undefined;
  /** What an FP8 cache runs with; undefined when the engine refuses the checkpoint or it is not known. */
  readonly layers: readonly { readonly layer: number; readonly k: SideScale; readonly v: SideScale }[] | undefined;
}

export interface InspectionProblem {
  readonly kind: ProblemKind | "record-contradicts-scales" | "no-engine";
  readonly message: string;
}

export interface Inspection {
  readonly folder: string;
  readonly modelType: string | undefined;
  readonly quantization: string | undefined;
  /** The file that has it. */
  readonly quantizationFile?: "config.json" | "hf_quant_config.json" | undefined;
  /** `kv_cache_torch_dtype` of config.json, when it is a text. */
  readonly kvCacheDtype: string | undefined;
  readonly layers: readonly InspectedLayer[];
  /** Scales of no layer that the checkpoint has. */
  readonly strayScales: readonly ScaleTensor[];
  readonly engines: readonly InspectedEngine[];
  readonly problems: readonly InspectionProblem[];
}

/**
 * Says what scales a checkpoint has, what engines do with them, and what is wrong.
 * @throws CheckpointError when there is nothing to look at, HubError, UsageError, InterruptedError
 */
export async function inspect(options: InspectOptions): Promise<Inspection> {
  requireKnownOptions("inspect", options);
  const { folder } = await locateModel(options);
  return await untilInterrupted(options.signal, inspectFolder(folder));
}

async function inspectFolder(folder: string): Promise<Inspection> {
  const survey = await surveyCheckpoint(folder);
  const facts = await gatherScaleFacts(survey);
  const { attentions, scales, quantization, kvCacheDtype } = facts;
  const engines = ENGINE_NAMES.map((engine) => judge(engine, facts));
  const known = new Set(attentions.values());
  const scalesOf = scalesByAttention(scales);
  const modelType = survey.config.model_type;
  return {
    folder,
    modelType: typeof modelType === "string" ? modelType : undefined,
    quantization: quantization?.method,
    quantizationFile: quantization?.file,
    kvCacheDtype: typeof kvCacheDtype === "string" ? kvCacheDtype : undefined,
    layers: [...attentions].map(([layer, name]) => ({
      layer,
      name,
      scales: scalesOf(name),
    })),
    strayScales: scales.filter(({ attention }) => !known.has(attention)),
    engines,
    problems: [
      ...findScaleProblems(facts),
      ...(await contradictingRecord(folder, scales)),
      ...unusable(engines, scales),
    ],
  };
}

function judge(engine: EngineName, facts: ScaleFacts): InspectedEngine {
  const { name } = ENGINES[engine];
  const { use, why, onFnuz, layers } = judgeScales(engine, facts);
  return {
    engine,
    name,
    use,
    why,
    onFnuz,
    layers: layers && [...layers].map(([layer, sides]) => ({ layer, ...sides })),
  };
}

/** Whether kv_scales.json of an earlier run has other scales. */
async function contradictingRecord(folder: string, scales: readonly ScaleTensor[]): Promise<InspectionProblem[]> {
  const record = await readScaleRecord(folder);
  if (record === undefined || scales.length === 0) return [];
  const recordOf = new Map(record.layers.toReversed().map((entry) => [entry.layer, entry]));
  const differing = scales.filter(({ layer, kind, values }) => {
    const recorded = layer === undefined ? undefined : recordOf.get(layer)?.[kind];
    return recorded !== undefined && values?.length === 1 && values[0] !== recorded;
  });
  const [first] = differing;
  if (first === undefined) return [];
  const message = `kv_scales.json has other scales than the files: "${first.name}" is ${first.values?.join()} in ${first.file}.`;
  return [{ kind: "record-contradicts-scales", message }];
}

function unusable(engines: readonly InspectedEngine[], scales: readonly ScaleTensor[]): InspectionProblem[] {
  if (scales.length === 0 || engines.some(({ use }) => use === "used" || use === "unknown")) return [];
  return [{ kind: "no-engine", message: "No engine uses the scales." }];
}
