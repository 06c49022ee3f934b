// What a run would do, as people read it in a terminal, and as JSON for machines. Pure: text out.

import { counted } from "../counted.js";
import { quantizedWeightsRecord } from "../numerics/quantized-weights.js";
import type { DryRun } from "../pipeline/dry-run.js";
import { resultJson } from "./result-json.js";
import type { Screen } from "./screen.js";
import { shown } from "./shown-text.js";
import { formatBytes, formatSeconds } from "./text.js";
import { warningLines } from "./warning-lines.js";
import { wrapText } from "./wrapped-text.js";

const NAME_WIDTH = 10;

/** A row for what would be read, computed, held and written, and how long it would take. */
export function dryRunReport(run: DryRun, { colors, width }: Screen): string {
  const { command, checkpoint, onto, modelType, quantizedWeights, reads, computes, memory, writes, time } = shown(run);
  const what = command === "calibrate" ? "prompt" : "window";
  const where = computes.provider === "cpu" ? computes.provider : `${computes.provider}, ${computes.computedIn}`;
  const written = writes.paths.length === 0 ? "nothing" : writes.paths.join(", ");
  const { longTexts: long } = reads;
  const longTexts =
    long === undefined
      ? ""
      : `; ${counted(long.texts, "long text")} to retrieve from, ${counted(long.tokens, "token")}`;
  const { longTextBytes: inLayersBytes = 0 } = memory;
  const inLayers = inLayersBytes === 0 ? "" : `${formatBytes(inLayersBytes)} for a long text in a layer, `;
  const atMost = reads.mayBeFewer ? "at most " : "";
  const rows: readonly (readonly [name: string, text: string])[] = [
    ["model", `${checkpoint} (${[modelType, ...(quantizedWeights?.forms ?? [])].join(", ")})`],
    ...(onto === undefined ? [] : [["onto", onto] as const]),
    [
      "reads",
      `${formatBytes(reads.weightBytes)} of weights in ${counted(reads.weightFiles, "file")}; ${atMost}${counted(reads.prompts, what)}, ${counted(reads.tokens, "token")}${longTexts}`,
    ],
    [
      "computes",
      `${counted(computes.layers, "layer")} in ${counted(computes.segments, "segment")}${command === "verify" ? `, ${counted(computes.passes, "time")}` : ""}, on ${where}, in ${counted(computes.processes, "process", "processes")}`,
    ],
    [
      "memory",
      `about ${formatBytes(memory.measuredBytes + memory.statesBytes + inLayersBytes)}: ${formatBytes(memory.weightBytes)} of weights at a time, ${formatBytes(memory.statesBytes)} between segments, ${inLayers}and the program`,
    ],
    ["writes", writes.bytes === 0 ? written : `${written}: at most ${formatBytes(writes.bytes)} of new data`],
    [
      "time",
      `${atMost}about ${formatSeconds(time.totalSeconds)}: ${formatSeconds(time.loadSeconds)} to load, ${formatSeconds(time.computeSeconds)} to compute (from ${time.measuredSeconds.toFixed(1)} s that were measured)`,
    ],
  ];
  const lines = rows.map(
    ([name, text]) => `${colors.bold(name.padEnd(NAME_WIDTH))}${wrapText(text, width, " ".repeat(NAME_WIDTH))}`,
  );
  return `${[...lines, "", "Nothing was written: this was a dry run."].join("\n")}\n${warningLines(run.warnings)}`;
}

/** The same for machines. */
export function dryRunJson({
  command,
  checkpoint,
  onto,
  modelType,
  quantizedWeights,
  reads,
  computes,
  memory,
  writes,
  time,
  warnings,
}: DryRun): string {
  const rounded = (seconds: number) => Number(seconds.toFixed(3));
  return resultJson({
    dry_run: true,
    ...{ command, checkpoint, ...(onto !== undefined && { onto }), model_type: modelType },
    ...quantizedWeightsRecord(quantizedWeights),
    reads: {
      weight_files: reads.weightFiles,
      weight_bytes: reads.weightBytes,
      prompts: reads.prompts,
      tokens: reads.tokens,
      ...(reads.longTexts !== undefined && {
        long_texts: { texts: reads.longTexts.texts, tokens: reads.longTexts.tokens },
      }),
      ...(reads.mayBeFewer && { may_be_fewer: true }),
    },
    computes: {
      provider: computes.provider,
      computed_in: computes.computedIn,
      processes: computes.processes,
      layers: computes.layers,
      segments: computes.segments,
      passes: computes.passes,
    },
    memory: {
      weight_bytes: memory.weightBytes,
      states_bytes: memory.statesBytes,
      ...(memory.longTextBytes !== undefined && { long_text_bytes: memory.longTextBytes }),
      measured_bytes: memory.measuredBytes,
    },
    writes: { paths: writes.paths, bytes: writes.bytes },
    time: {
      measured_seconds: rounded(time.measuredSeconds),
      load_seconds: rounded(time.loadSeconds),
      compute_seconds: rounded(time.computeSeconds),
      total_seconds: rounded(time.totalSeconds),
    },
    warnings,
  });
}
