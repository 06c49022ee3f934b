// The forms of weights of 8 and 4 bits that are floating-point numbers, with the names that methods give to their scales.

import { EXPONENT_DTYPES, FLOAT_DTYPES, type ScaleForm, type StoredForm, type WeightSizes } from "./stored-form.js";

/** FP8 (E4M3), a code for each weight. */
export function float8Form(
  scale: Pick<ScaleForm, "suffixes" | "per"> & { readonly dtypes?: readonly string[] },
  ofActivations: readonly string[],
): StoredForm {
  const { per } = scale;
  const shared = per === "tensor" ? "a matrix" : per === "output" ? "an output" : `${per.join(" × ")} weights`;
  return {
    name: `FP8 with a scale for ${shared}`,
    codes: { suffix: "", dtypes: ["F8_E4M3"] },
    coding: "own-dtype",
    scales: [{ dtypes: FLOAT_DTYPES, ...scale, means: "factor" }],
    ofActivations,
  };
}

/** NVFP4: FP4 (E2M1), an FP8 scale for 16 inputs, and a factor or divisor for the whole matrix. */
export function nvfp4Form(
  names: { readonly codes: string; readonly global: string },
  means: ScaleForm["means"],
  ofActivations: readonly string[],
): StoredForm {
  return {
    name: "NVFP4",
    codes: { suffix: names.codes, dtypes: ["U8"], shape: pairsOfInputs },
    coding: "e2m1-pairs",
    scales: [
      { suffixes: ["_scale"], dtypes: ["F8_E4M3"], per: [1, 16], means: "factor" },
      { suffixes: [names.global], dtypes: ["F32"], per: "tensor", means },
    ],
    ofActivations,
  };
}

/** MXFP4: FP4 (E2M1), an exponent of 2 for 32 inputs. */
export function mxfp4Form(
  codes: StoredForm["codes"],
  scale: string,
  ofActivations: readonly string[] = [],
): StoredForm {
  return {
    name: "MXFP4",
    codes,
    coding: "e2m1-pairs",
    scales: [{ suffixes: [scale], dtypes: EXPONENT_DTYPES, per: [1, 32], means: "factor" }],
    ofActivations,
  };
}

/** Two codes in a byte. */
export function pairsOfInputs({ stack, outputs, inputs }: WeightSizes): number[] {
  return [...stack, outputs, inputs / 2];
}
