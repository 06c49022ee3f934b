// The serving engines: one entry each, a pure function from the facts of a checkpoint to a verdict on its scales. A new
// engine is a file beside this one, a line here and its name in engine-names. Touches no file.

import type { EngineName } from "./engine-names.js";
import { judgeSglang } from "./engine-sglang.js";
import { judgeTensorRtLlm } from "./engine-tensorrt-llm.js";
import { judgeDocumentedTgi, judgeTgi } from "./engine-tgi.js";
import { judgeTransformers } from "./engine-transformers.js";
import { type EngineVerdict, refused } from "./engine-verdicts.js";
import { judgeVllm } from "./engine-vllm.js";
import type { ScaleFacts } from "./scale-facts.js";

interface EngineRule {
  readonly name: string;
  readonly judge: (facts: ScaleFacts) => EngineVerdict;
}

export const ENGINES = {
  "tgi-documented": { name: "TGI, documented format", judge: judgeDocumentedTgi },
  tgi: { name: "TGI 2.4 and later", judge: judgeTgi },
  vllm: { name: "vLLM", judge: judgeVllm },
  sglang: { name: "SGLang since Aug 2026", judge: judgeSglang },
  trtllm: { name: "TensorRT-LLM", judge: judgeTensorRtLlm },
  transformers: { name: "transformers", judge: judgeTransformers },
} as const satisfies Record<EngineName, EngineRule>;

/** What an engine does with the scales of a checkpoint. */
export function judgeScales(engine: EngineName, facts: ScaleFacts): EngineVerdict {
  if (facts.foreignName !== undefined) return refused(`it finds no tensor that is called "${facts.foreignName.name}"`);
  return ENGINES[engine].judge(facts);
}
