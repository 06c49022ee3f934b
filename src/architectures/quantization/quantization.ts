// What a quantization_config says of the weights, whatever its method: the form of each module's. Pure.

import type { StoredForm } from "./stored-form.js";

export interface Quantization extends MethodReading {
  /** quant_method, as config.json has it. */
  readonly method: string;
  /** What says all this, for messages. */
  readonly where: string;
  /** The key of config.json that may be assumed harmless where all weights are numbers; absent: it stands elsewhere. */
  readonly key?: string;
}

/** What a method's keys say. */
export interface MethodReading {
  /** Whether engines quantize activations, too. */
  readonly activations: boolean;
  /** Whether the tensors say which modules are quantized: one with numbers alone is none. */
  readonly byTensors?: boolean;
  /**
   * The form of the weights of modules; those that are left out have numbers.
   * @param modules names of matrices in the checkpoint, without .weight
   */
  readonly formsOf: (modules: readonly string[]) => ReadonlyMap<string, StoredForm>;
}

/** A form for all modules but some. */
export function formForAllBut(
  form: StoredForm,
  modules: readonly string[],
  left: ReadonlySet<string>,
): ReadonlyMap<string, StoredForm> {
  return new Map(modules.flatMap((module) => (left.has(module) ? [] : [[module, form] as const])));
}
