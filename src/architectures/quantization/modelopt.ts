// quant_method "modelopt": NVIDIA's releases. FP8 with a scale for each matrix, output or block, and NVFP4.

import { UnsupportedModelError } from "../../errors.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { float8Form, nvfp4Form } from "./float-forms.js";
import { namedModules } from "./module-names.js";
import { formForAllBut, type MethodReading } from "./quantization.js";
import type { StoredForm } from "./stored-form.js";

const OF_ACTIVATIONS = ["input_scale"];
const SUFFIXES = ["_scale"] as const;
const NVFP4 = nvfp4Form({ codes: "", global: "_scale_2" }, "factor", OF_ACTIVATIONS);

/** By quant_algo. ModelOpt says what each matrix is multiplied by. */
const FORMS: Readonly<Record<string, { readonly form: StoredForm; readonly activations: boolean }>> = {
  FP8: { form: float8Form({ suffixes: SUFFIXES, per: "tensor" }, OF_ACTIVATIONS), activations: true },
  FP8_PER_CHANNEL_PER_TOKEN: {
    form: float8Form({ suffixes: SUFFIXES, per: "output" }, OF_ACTIVATIONS),
    activations: true,
  },
  FP8_PB_WO: { form: float8Form({ suffixes: SUFFIXES, per: [128, 128] }, OF_ACTIVATIONS), activations: false },
  NVFP4: { form: NVFP4, activations: true },
  W4A16_NVFP4: { form: NVFP4, activations: false },
};

/** @throws UnsupportedModelError for another quant_algo */
export function readModelOpt(block: ModelConfig): MethodReading {
  for (const key of ["kv_cache_scheme", "kv_cache_quant_algo"]) block.ignore(key, "of the KV cache");
  block.ignore("producer", "says where the checkpoint comes from");
  block.ignore("config_groups", "quant_algo says it");
  block.ignoreIf("group_size", [undefined, 16], "quant_algo says it");
  const algorithm = block.string("quant_algo");
  if (algorithm === "MIXED_PRECISION") return readMixed(block);
  const { form, activations } = formOf(block, algorithm);
  const key = block.has("exclude_modules") && !block.has("ignore") ? "exclude_modules" : "ignore";
  const left = block.optionalStrings(key) ?? [];
  return {
    activations,
    formsOf: (modules) => formForAllBut(form, modules, namedModules(modules, left, "wildcards", block.nameOf(key))),
  };
}

/** `quantized_layers` names every module that is quantized, with its own algorithm. */
function readMixed(block: ModelConfig): MethodReading {
  for (const key of ["exclude_modules", "ignore"]) block.ignore(key, "quantized_layers says which are quantized");
  const layers = block.object("quantized_layers");
  const found = new Map(
    layers.keys().map((module) => {
      const layer = layers.object(module);
      layer.ignoreIf("group_size", [undefined, 16], "quant_algo says it");
      return [module, formOf(layer, layer.string("quant_algo"))] as const;
    }),
  );
  return {
    activations: [...found.values()].some(({ activations }) => activations),
    formsOf: (modules) =>
      new Map(
        modules.flatMap((module) => {
          const form = found.get(module)?.form;
          return form === undefined ? [] : [[module, form] as const];
        }),
      ),
  };
}

function formOf(block: ModelConfig, algorithm: string) {
  const found = Object.hasOwn(FORMS, algorithm) ? FORMS[algorithm] : undefined;
  if (found !== undefined) return found;
  throw new UnsupportedModelError(
    `${block.nameOf("quant_algo")}: ${shortJson(algorithm)} is not supported; supported: ${Object.keys(FORMS).join(", ")}. Calibrate the 16-bit checkpoint that these weights were made from.`,
  );
}
