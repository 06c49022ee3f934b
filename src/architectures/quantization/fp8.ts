// quant_method "fp8" (releases of DeepSeek, Qwen, MiniMax, Mistral) and "fbgemm_fp8": FP8 with scales for blocks, matrices
// or outputs.

import type { ModelConfig } from "../model-config.js";
import { readBlockSize } from "./block-size.js";
import { float8Form } from "./float-forms.js";
import { namedModules } from "./module-names.js";
import { formForAllBut, type MethodReading } from "./quantization.js";
import { EXPONENT_DTYPES, FLOAT_DTYPES, type StoredForm } from "./stored-form.js";

/** @throws CheckpointError for a value that is not what its key is for */
export function readFp8(block: ModelConfig): MethodReading {
  block.ignoreIf("activation_scheme", ["dynamic", "static"], "activations are not quantized here");
  block.ignoreIf("fmt", [undefined, "e4m3", "float8_e4m3fn"], "the dtype of the tensors says it");
  block.ignoreIf("scale_fmt", [undefined, "float", "ue8m0"], "the dtype of the scales says it");
  block.ignoreIf("expert_dtype", [undefined, "fp8"], "the dtype of the tensors says it");
  block.ignoreIf("is_checkpoint_fp8_serialized", [undefined, true], "tensors of 16 bits would say no");
  block.ignore("dequantize", "how transformers runs it");
  block.ignore("kv_cache_scheme", "of the KV cache");
  const form = float8Form(readScale(block), ["activation_scale", "input_scale"]);
  return { activations: true, formsOf: formsBut(block, form) };
}

export function readFbgemmFp8(block: ModelConfig): MethodReading {
  block.ignore("activation_scale_ub", "activations are not quantized here");
  const form = float8Form({ suffixes: ["_scale"], per: "output" }, ["input_scale_ub"]);
  return { activations: true, formsOf: formsBut(block, form) };
}

function readScale(block: ModelConfig): Parameters<typeof float8Form>[0] {
  const suffixes = ["_scale_inv", "_scale"] as const;
  if (!block.has("weight_block_size")) return { suffixes, per: "tensor" };
  const per = readBlockSize(block, "weight_block_size");
  return { suffixes, per, dtypes: [...FLOAT_DTYPES, ...EXPONENT_DTYPES] };
}

/** Every module, but for those that one of two keys names. */
function formsBut(block: ModelConfig, form: StoredForm): MethodReading["formsOf"] {
  const key =
    block.has("ignored_layers") && !block.has("modules_to_not_convert") ? "ignored_layers" : "modules_to_not_convert";
  const left = block.optionalStrings(key) ?? [];
  return (modules) => formForAllBut(form, modules, namedModules(modules, left, "transformers", block.nameOf(key)));
}
