// What to do after a verification: a sentence, and the command to paste. Pure; decides nothing, the verdict has.

import { VLLM } from "../checkpoint/output-formats.js";
import type { VerifyResult } from "../pipeline/verify-result.js";
import { engineWords } from "./engine-words.js";
import { shellWord } from "./shell-word.js";

export interface NextStep {
  /** Ends in a colon, for the command that follows. */
  readonly sentence: string;
  /** Words of the command. */
  readonly command: readonly string[];
}

/** @param result as it was measured: its folder becomes part of the command */
export function nextStepOf(result: VerifyResult): NextStep {
  const { verdict, checkpoint, scaleSource, layerEffects, retrieval } = result;
  const verify = ["npx", "create-kv-scales", "verify", shellWord(checkpoint)];
  switch (verdict.name) {
    case "ship":
    case "scale-1-does-as-well":
      return serveStep("Serve it with an FP8 cache:", result, (command) => command);
    case "keep-layers-in-16-bits":
      return keepLayersStep(result);
    case "too-costly":
      if (scaleSource === undefined) {
        return {
          sentence: "Calibrate it, then verify the result:",
          command: ["npx", "create-kv-scales", shellWord(checkpoint)],
        };
      }
      if (layerEffects.length === 0) {
        return { sentence: "Find the layers that cost most:", command: [...verify, "--per-layer"] };
      }
      return serveStep("Serve it with a 16-bit cache:", result, withoutCacheOption);
    case "inconclusive":
      if (!verdict.lacks.includes("text") && retrieval !== undefined) {
        // Twice as many where no number can be told.
        const values = retrieval.values + (verdict.moreValues ?? retrieval.values);
        return {
          sentence: "Verify it with more values to retrieve:",
          command: [...verify, "--retrieval", "--retrieval-values", String(values)],
        };
      }
      return { sentence: "Verify it with more text:", command: [...verify, "--data", "more-text.jsonl"] };
    case "baseline-broken":
      return {
        sentence: "Verify it with text that the model knows:",
        command: [...verify, "--data", "my-text.txt"],
      };
  }
}

/** With an engine that uses the scales that were verified; without scales, any does. */
function serveStep(
  sentence: string,
  { checkpoint, scaleSource, engine }: VerifyResult,
  change: (command: readonly string[]) => readonly string[],
): NextStep {
  const chosen = scaleSource === undefined ? VLLM : engine;
  if (chosen !== undefined) return { sentence, command: change(engineWords(chosen, checkpoint)) };
  return {
    sentence: "No engine is known to use just these scales. See what each does with them:",
    command: ["npx", "create-kv-scales", "inspect", shellWord(checkpoint)],
  };
}

/** Only vLLM has an option for it. */
function keepLayersStep({ verdict, checkpoint, scaleSource, engine }: VerifyResult): NextStep {
  const these = verdict.layers.length === 1 ? "this layer" : "these layers";
  if (scaleSource === undefined || engine?.rule === VLLM.rule) {
    return {
      sentence: `Serve it with ${these} in 16 bits:`,
      command: [...engineWords(VLLM, checkpoint), ...(verdict.flag?.split(" ") ?? [])],
    };
  }
  return {
    sentence: `vLLM keeps ${these} in 16 bits with ${verdict.flag}. Write the scales for it:`,
    command: ["npx", "create-kv-scales", "convert", shellWord(checkpoint), "--format", "vllm"],
  };
}

function withoutCacheOption(command: readonly string[]): string[] {
  const option = command.indexOf("--kv-cache-dtype");
  return command.filter((_, index) => option < 0 || index < option || index > option + 1);
}
