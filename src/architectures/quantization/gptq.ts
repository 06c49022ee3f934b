// quant_method "gptq": releases of GPTQModel, AutoGPTQ and optimum. Integers of 4 or 8 bits; expressions may give modules
// settings of their own.

import { UnsupportedModelError } from "../../errors.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { gptqForm } from "./integer-forms.js";
import { namedModules } from "./module-names.js";
import type { MethodReading } from "./quantization.js";
import type { StoredForm } from "./stored-form.js";

/** Keys that say how the weights were found, or how one program runs them. */
const OF_OTHERS = [
  ...["damp_percent", "damp_auto_increment", "true_sequential", "static_groups", "mse", "sym", "dataset", "tokenizer"],
  ...[
    "model_name_or_path",
    "model_file_base_name",
    "quant_name",
    "batch_size",
    "pad_token_id",
    "meta",
    "tag",
    "offload",
  ],
  ...["use_exllama", "disable_exllama", "exllama_config", "use_cuda_fp16", "max_input_length", "cache_block_outputs"],
  ...["backend", "hessian_chunk_size", "model_seqlen", "module_name_preceding_first_block", "block_name_to_quantize"],
];

interface Settings {
  readonly bits: number;
  readonly groupSize: number;
  readonly namesGroups: boolean;
}

/** @throws UnsupportedModelError for other bits and for words in another order */
export function readGptq(block: ModelConfig): MethodReading {
  for (const key of OF_OTHERS) block.ignore(key, "how the weights were found, or how another program runs them");
  block.ignore("modules_in_block_to_quantize", "the tensors say it");
  block.ignore("lm_head", "the tensors say it");
  block.ignoreIf("pack_dtype", [undefined, "int32"], "words have 32 bits");
  block.ignoreIf("is_marlin_format", [undefined, false], "words are in GPTQ's order");
  const format = block.string("checkpoint_format", block.string("format", "gptq"));
  if (format !== "gptq" && format !== "gptq_v2") {
    throw new UnsupportedModelError(
      `${block.nameOf("checkpoint_format")}: ${shortJson(format)} is not supported; supported: "gptq", "gptq_v2". Calibrate the 16-bit checkpoint that these weights were made from.`,
    );
  }
  const settings = readSettings(block);
  const isLessByOne = format === "gptq";
  const form = formOf(settings, isLessByOne, block);
  const exceptions = readExceptions(block, settings).map(({ pattern, where, changed }) => {
    return { pattern, where, form: changed && formOf(changed, isLessByOne, block) };
  });
  return {
    activations: false,
    byTensors: true,
    formsOf: (modules) => {
      const forms = new Map(modules.map((module): [string, StoredForm] => [module, form]));
      // The first expression that a module matches counts.
      for (const { pattern, where, form: own } of exceptions.toReversed()) {
        for (const module of namedModules(modules, [`re:${pattern}`], "compressed-tensors", where)) {
          if (own === undefined) forms.delete(module);
          else forms.set(module, own);
        }
      }
      return forms;
    },
  };
}

function readSettings(block: ModelConfig): Settings {
  return {
    bits: block.positiveInteger("bits"),
    groupSize: block.number("group_size", -1),
    namesGroups: block.boolean("desc_act", false),
  };
}

function formOf({ bits, groupSize, namesGroups }: Settings, isLessByOne: boolean, block: ModelConfig): StoredForm {
  if (bits !== 4 && bits !== 8) {
    throw new UnsupportedModelError(
      `${block.nameOf("bits")}: ${bits} is not supported; supported: 4, 8. Calibrate the 16-bit checkpoint that these weights were made from.`,
    );
  }
  const isGrouped = groupSize > 0;
  const per = isGrouped ? ([1, groupSize] as const) : ("output" as const);
  return gptqForm(per, bits, { namesGroups: namesGroups && isGrouped, isLessByOne });
}

interface Exception {
  readonly pattern: string;
  readonly where: string;
  /** Undefined: the modules are not quantized. */
  readonly changed: Settings | undefined;
}

/** GPTQModel's `dynamic`: expressions with a sign, and the settings of the modules that they match. */
function readExceptions(block: ModelConfig, settings: Settings): Exception[] {
  const dynamic = block.optionalObject("dynamic");
  return (dynamic?.keys() ?? []).map((key) => {
    const where = dynamic?.nameOf(key) ?? key;
    const own = dynamic?.object(key);
    const pattern = key.replace(/^[+-]:/, "");
    for (const other of own?.keys() ?? []) {
      if (!["bits", "group_size", "desc_act"].includes(other)) own?.ignore(other, "how the weights were found");
    }
    if (key.startsWith("-:")) return { pattern, where, changed: undefined };
    const changed = {
      bits: own?.positiveInteger("bits", settings.bits) ?? settings.bits,
      groupSize: own?.number("group_size", settings.groupSize) ?? settings.groupSize,
      namesGroups: own?.boolean("desc_act", settings.namesGroups) ?? settings.namesGroups,
    };
    return { pattern, where, changed };
  });
}
