// The forms of weights that are integers of 8 or 4 bits with a scale for an output or a group of inputs, with the names that
// methods give to their tensors.

import type { PackedIntegers } from "../weight-source.js";
import { FLOAT_DTYPES, type ScaleForm, type StoredForm, type WeightSizes } from "./stored-form.js";

const WORDS = ["I32"] as const;

interface IntegerSettings {
  readonly bits: number;
  readonly per: ScaleForm["per"];
  /** Whether each element of the scale has a zero point. */
  readonly hasZeroPoints: boolean;
}

function nameOf(bits: number, per: ScaleForm["per"]): string {
  const shared = per === "tensor" ? "a matrix" : per === "output" ? "an output" : `${per[1]} inputs`;
  return `integers of ${bits} bits with a scale for ${shared}`;
}

/** compressed-tensors: a byte for each integer, whatever its bits. */
export function int8Form({ bits, per, hasZeroPoints }: IntegerSettings, unread: readonly string[]): StoredForm {
  return {
    name: nameOf(bits, per),
    codes: { suffix: "", dtypes: ["I8"] },
    coding: "own-dtype",
    ...(hasZeroPoints && { zeroPoint: { suffix: "_zero_point", dtypes: ["I8"], coding: "own-dtype" } }),
    scales: [{ suffixes: ["_scale"], dtypes: FLOAT_DTYPES, per, means: "factor" }],
    ofActivations: hasZeroPoints ? unread : [...unread, ZEROS],
  };
}

/** Older versions stored zeros where there are no zero points. */
const ZEROS = "weight_zero_point";

/**
 * compressed-tensors: words of inputs. Integers with a sign are stored with half of their range added, zero points too, so
 * both may be read without a sign.
 */
export function packedForm(
  { per, hasZeroPoints }: IntegerSettings,
  bits: PackedIntegers["bits"],
  unread: readonly string[],
): StoredForm {
  const zeroPoint = {
    suffix: "_zero_point",
    dtypes: WORDS,
    coding: { bits, axis: 0, order: "in-order" },
  } as const;
  return {
    name: nameOf(bits, per),
    codes: {
      suffix: "_packed",
      dtypes: WORDS,
      shape: ({ stack, outputs, inputs }) => [...stack, outputs, Math.ceil((inputs * bits) / 32)],
    },
    coding: { bits, axis: 1, order: "in-order" },
    zeroPoint: hasZeroPoints ? zeroPoint : 2 ** (bits - 1),
    scales: [{ suffixes: ["_scale"], dtypes: FLOAT_DTYPES, per, means: "factor" }],
    ofActivations: [...unread, "weight_shape", ...(hasZeroPoints ? [] : [ZEROS])],
  };
}

/** What GPTQ and AWQ have in common: inputs first, and zero points in words of outputs. */
function inputsFirst(per: ScaleForm["per"], bits: PackedIntegers["bits"]): Pick<StoredForm, "name" | "scales"> {
  return {
    name: nameOf(bits, per),
    scales: [{ suffixes: [".scales"], dtypes: FLOAT_DTYPES, per, means: "factor" }],
  };
}

/**
 * GPTQ: words of inputs.
 * @param namesGroups whether inputs name their groups, which are no neighbours
 * @param isLessByOne whether zero points are stored less by one, as in the first version of the format
 */
export function gptqForm(
  per: ScaleForm["per"],
  bits: PackedIntegers["bits"],
  { namesGroups, isLessByOne }: { readonly namesGroups: boolean; readonly isLessByOne: boolean },
): StoredForm {
  return {
    ...inputsFirst(per, bits),
    codes: {
      suffix: ".qweight",
      dtypes: WORDS,
      stored: "inputs-first",
      shape: ({ outputs, inputs }: WeightSizes) => [Math.ceil((inputs * bits) / 32), outputs],
    },
    coding: { bits, axis: 0, order: "in-order" },
    zeroPoint: { suffix: ".qzeros", dtypes: WORDS, coding: { bits, axis: 1, order: "in-order" }, isLessByOne },
    ...(namesGroups && { blockOfInput: ".g_idx" }),
    // AutoGPTQ gave a bias of zeros to layers that have none, which engines pass over.
    ofActivations: ["g_idx", "bias"],
  };
}

/** AWQ, as GEMM kernels read it: words of outputs, those with even numbers first. */
export function awqForm(per: ScaleForm["per"]): StoredForm {
  const coding = { bits: 4, axis: 1, order: "even-first" } as const;
  return {
    ...inputsFirst(per, 4),
    codes: {
      suffix: ".qweight",
      dtypes: WORDS,
      stored: "inputs-first",
      shape: ({ outputs, inputs }: WeightSizes) => [inputs, Math.ceil(outputs / 8)],
    },
    coding,
    zeroPoint: { suffix: ".qzeros", dtypes: WORDS, coding },
    ofActivations: [],
  };
}
