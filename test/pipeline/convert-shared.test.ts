// Layers that read the cache of another have its scales under their own name, and keep them when they are converted; layers
// without a cache have none.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { convert } from "../../src/pipeline/convert.js";
import { writeGoldenResult } from "../helpers/golden-results.js";
import { readTensors, temporaryFolder } from "../helpers/safetensors-files.js";

const root = temporaryFolder();
const SCALES = "model-00002-of-00002.safetensors";

function scalesIn(folder: string): Record<string, string> {
  const tensors = readTensors(readFileSync(join(folder, SCALES)));
  return Object.fromEntries([...tensors].map(([name, { bytes }]) => [name, Buffer.from(bytes).toString("hex")]));
}

const GOLDENS = ["gemma3n_text-shared", "gemma4_text-e-model-bare", "glm4_moe-next-layer", "gpt2-plain", "dbrx-plain"];
const HYBRIDS = ["qwen3_next-moe", "olmo_hybrid-plain"];

test.each([...GOLDENS, ...HYBRIDS])(
  "%s: from TGI's format to vLLM's gives what a calibration would have written, and back",
  async (golden) => {
    const tgi = await writeGoldenResult(root(), golden, "tgi");
    const vllm = await writeGoldenResult(root(), golden, "vllm");
    const [there, back] = [join(root(), "there"), join(root(), "back")];
    const conversion = await convert({ model: tgi, format: "vllm", output: there });
    expect(conversion).toMatchObject({ source: "absmax", convertTo: undefined });
    // Of an attention that is called attn, vLLM reads attn.attn.k_scale, and the others attn.k_scale.
    const isCalledAttn = ["gpt2-plain", "dbrx-plain"].includes(golden);
    const others = ["SGLang", "Text Generation Inference 3"].map((name) => `${name} does not use the scales`);
    expect(conversion.warnings.map((warning) => warning.split(":")[0])).toEqual(isCalledAttn ? others : []);
    expect(scalesIn(there)).toEqual(scalesIn(vllm));
    expect(await convert({ model: there, format: "tgi", output: back })).toMatchObject({
      convertTo: "vllm",
      warnings: [],
    });
    expect(scalesIn(back)).toEqual(scalesIn(tgi));
    const layers = (folder: string) => JSON.parse(readFileSync(join(folder, "kv_scales.json"), "utf8")).layers.length;
    expect(layers(back)).toBe(layers(tgi));
  },
);
