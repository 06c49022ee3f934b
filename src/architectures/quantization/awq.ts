// quant_method "awq": releases of AutoAWQ and others. Integers of 4 bits with zero points, as GEMM kernels read them.

import { UnsupportedModelError } from "../../errors.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { awqForm } from "./integer-forms.js";
import type { MethodReading } from "./quantization.js";

/** Keys that say how one program runs the weights. */
const OF_OTHERS = [
  ...["do_fuse", "fuse_max_seq_len", "modules_to_fuse", "exllama_config", "backend"],
  ...["modules_to_not_convert", "lm_head"],
];

/** @throws UnsupportedModelError for other bits, for words in another order, and without zero points */
export function readAwq(block: ModelConfig): MethodReading {
  for (const key of OF_OTHERS) block.ignore(key, "how another program runs the weights, or what the tensors say");
  const bits = block.has("bits") ? block.number("bits") : block.number("w_bit", 4);
  const groupSize = block.has("group_size") ? block.number("group_size") : block.number("q_group_size", 128);
  const version = (block.has("version") ? block.string("version") : block.string("format", "gemm")).toLowerCase();
  const hasZeroPoints = block.boolean("zero_point", true);
  if (bits !== 4 || version !== "gemm" || !hasZeroPoints) {
    const found = shortJson({ bits, version, zero_point: hasZeroPoints });
    throw new UnsupportedModelError(
      `${block.nameOf("version")}: ${found} is not supported; supported: 4 bits in version "gemm" with zero points. Calibrate the 16-bit checkpoint that these weights were made from.`,
    );
  }
  const form = awqForm(groupSize > 0 ? [1, groupSize] : "output");
  return {
    activations: false,
    byTensors: true,
    formsOf: (modules) => new Map(modules.map((module) => [module, form])),
  };
}
