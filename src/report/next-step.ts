// What to do after a verification: a sentence, and the command to paste. Pure; decides nothing, the verdict has.

import type { VerifyResult } from "../pipeline/verify-result.js";
import { shellWord } from "./shell-word.js";

export interface NextStep {
  /** Ends in a colon, for the command that follows. */
  readonly sentence: string;
  /** Words of the command. */
  readonly command: readonly string[];
}

/** @param result as it was measured: its folder becomes part of the command */
export function nextStepOf({ verdict, checkpoint, scaleSource, layerEffects, retrieval }: VerifyResult): NextStep {
  const folder = shellWord(checkpoint);
  switch (verdict.name) {
    case "ship":
    case "scale-1-does-as-well":
      return { sentence: "Serve it with an FP8 cache:", command: serveCommand(folder, scaleSource) };
    case "keep-layers-in-16-bits":
      return {
        sentence: `Serve it with ${verdict.layers.length === 1 ? "this layer" : "these layers"} in 16 bits:`,
        command: ["vllm", "serve", folder, "--kv-cache-dtype", "fp8", ...(verdict.flag?.split(" ") ?? [])],
      };
    case "too-costly":
      if (scaleSource === undefined) {
        return { sentence: "Calibrate it, then verify the result:", command: ["npx", "create-kv-scales", folder] };
      }
      if (layerEffects.length === 0) {
        return {
          sentence: "Find the layers that cost most:",
          command: ["npx", "create-kv-scales", "verify", folder, "--per-layer"],
        };
      }
      return { sentence: "Serve it with a 16-bit cache:", command: ["vllm", "serve", folder] };
    case "inconclusive":
      if (verdict.moreTokens === undefined && verdict.moreValues !== undefined) {
        const values = (retrieval?.values ?? 0) + verdict.moreValues;
        return {
          sentence: "Verify it with more values to retrieve:",
          command: [
            ...["npx", "create-kv-scales", "verify", folder, "--retrieval", "--retrieval-values", String(values)],
          ],
        };
      }
      return {
        sentence: "Verify it with more text:",
        command: ["npx", "create-kv-scales", "verify", folder, "--data", "more-text.jsonl"],
      };
    case "baseline-broken":
      return {
        sentence: "Verify it with text that the model knows:",
        command: ["npx", "create-kv-scales", "verify", folder, "--data", "my-text.txt"],
      };
  }
}

/** TGI reads kv_scale, vLLM k_scale and v_scale; a checkpoint without scales runs anywhere. */
function serveCommand(folder: string, scaleSource: string | undefined): string[] {
  return scaleSource === "kv_scale"
    ? ["text-generation-launcher", "--model-id", folder, "--kv-cache-dtype", "fp8_e4m3fn"]
    : ["vllm", "serve", folder, "--kv-cache-dtype", "fp8"];
}
