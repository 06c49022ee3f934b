// quant_method "mxfp4": GPT-OSS's experts, stacks of FP4 blocks with an exponent each. The rest has 16 bits.

import type { ModelConfig } from "../model-config.js";
import { mxfp4Form } from "./float-forms.js";
import { namedModules } from "./module-names.js";
import { formForAllBut, type MethodReading } from "./quantization.js";
import type { WeightSizes } from "./stored-form.js";

const INPUTS_IN_BLOCK = 32;

/** As in transformers, only experts are quantized, whatever the list leaves. */
const EXPERTS = /\.experts\.(gate_up_proj|down_proj)$/;

export function readMxfp4(block: ModelConfig): MethodReading {
  block.ignore("dequantize", "how transformers runs it");
  const key = "modules_to_not_convert";
  const left = block.optionalStrings(key) ?? [];
  const form = mxfp4Form({ suffix: "_blocks", dtypes: ["U8"], shape: inBlocks }, "_scales");
  return {
    activations: false,
    formsOf: (modules) => {
      const experts = modules.filter((module) => EXPERTS.test(module));
      return formForAllBut(form, experts, namedModules(experts, left, "transformers", block.nameOf(key)));
    },
  };
}

/** 16 bytes for 32 inputs, outputs first, whatever the order in 16 bits is. */
function inBlocks({ stack, outputs, inputs }: WeightSizes): number[] {
  return [...stack, outputs, inputs / INPUTS_IN_BLOCK, INPUTS_IN_BLOCK / 2];
}
