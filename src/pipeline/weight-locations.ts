// Tells graphs where a checkpoint's tensors are: element type, and place of the bytes relative to one folder.

import { dirname, join, relative, sep } from "node:path";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { requireStillPlain } from "../checkpoint/plain-file.js";
import { CheckpointError } from "../errors.js";
import type { LocateWeight } from "../graphs/weights.js";
import type { ElementType } from "../onnx/model-proto.js";

const ELEMENT_TYPE_OF_DTYPE: Record<string, ElementType> = {
  BF16: "bfloat16",
  F16: "float16",
  F32: "float32",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
  // ONNX Runtime has no type of exponents.
  F8_E8M0: "uint8",
  U8: "uint8",
  I8: "int8",
  I32: "int32",
};

/** Stored bytes of a tensor; 0 when there is no such tensor. */
export function storedBytes({ tensors }: Checkpoint): (tensor: string) => number {
  return (name) => tensors.get(name)?.byteLength ?? 0;
}

export interface WeightLocations {
  /** The deepest folder with every shard in it, links resolved: ONNX Runtime refuses paths that leave it. */
  readonly folder: string;
  readonly locate: LocateWeight;
}

/** `locate` checks the file each time, because ONNX Runtime opens it right after. */
export function weightLocations(checkpoint: Checkpoint): WeightLocations {
  const folder = commonFolder(checkpoint.shards.map((shard) => dirname(shard.path)));
  const locate: LocateWeight = (name) => {
    const tensor = checkpoint.tensors.get(name);
    const elementType = ELEMENT_TYPE_OF_DTYPE[tensor?.dtype ?? ""];
    if (tensor === undefined || elementType === undefined) throw new CheckpointError(`Tensor "${name}" is missing`);
    const { file, shape, offset, byteLength } = tensor;
    requireStillPlain(file, offset + byteLength);
    // ONNX demands "/" on every platform.
    const location = relative(folder, file).split(sep).join("/");
    return { elementType, shape, data: { location, offset, byteLength } };
  };
  return { folder, locate };
}

function commonFolder(folders: readonly string[]): string {
  const [first = sep, ...others] = folders;
  let common = first;
  for (const folder of others) {
    while (relative(common, folder).split(sep)[0] === "..") common = join(common, "..");
  }
  return common;
}
