// Which engine serves a checkpoint with the scales that were verified: asks the engines' rules, one after the other. Reads
// headers and scales alone; knows no command line.

import { judgeScales } from "../checkpoint/engine-rules.js";
import { type EngineCommand, OUTPUT_FORMATS, SGLANG, VLLM } from "../checkpoint/output-formats.js";
import type { ScalesAsRead } from "../checkpoint/read-scales.js";
import { gatherScaleFacts } from "../checkpoint/scale-facts.js";
import { surveyCheckpoint } from "../checkpoint/survey-checkpoint.js";

/**
 * Engines whose cache is FP8 by an option, the more general first. TGI is asked as it is since 2.4 before what its
 * documentation says: of scales for K and V apart, only the former uses both.
 */
const ENGINES: readonly EngineCommand[] = [
  VLLM,
  SGLANG,
  ...OUTPUT_FORMATS["tgi-separate"].engines,
  ...OUTPUT_FORMATS.tgi.engines,
];

/** An engine may keep a scale in the model's own type: bfloat16 has 8 bits. */
const ROUNDING = 2 ** -8;

/**
 * The engine to serve a checkpoint with.
 * @param scales that were verified
 * @returns undefined where no engine is known to use just these
 * @throws CheckpointError when the folder cannot be read
 */
export async function servingEngine(folder: string, scales: ScalesAsRead): Promise<EngineCommand | undefined> {
  const facts = await gatherScaleFacts(await surveyCheckpoint(folder));
  const usesThese = ({ rule }: EngineCommand, wanted: "used" | "unknown") => {
    const { use, layers } = judgeScales(rule, facts);
    return (
      use === wanted &&
      scales.layers.every(({ layer, kScale, vScale }) => {
        const found = layers?.get(layer);
        return isClose(found?.k, kScale) && isClose(found?.v, vScale);
      })
    );
  };
  return ENGINES.find((engine) => usesThese(engine, "used")) ?? ENGINES.find((engine) => usesThese(engine, "unknown"));
}

function isClose(found: number | undefined, scale: number): boolean {
  return found !== undefined && Math.abs(found / scale - 1) <= ROUNDING;
}
