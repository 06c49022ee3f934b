// Runs a small graph in ONNX Runtime: weights lie in a file beside it, as they do in a checkpoint. And numbers to try it
// with, equal in every run.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "../../src/graphs/arithmetic.js";
import type { GraphContext } from "../../src/graphs/blocks.js";
import { GraphWeights, type LocateWeight } from "../../src/graphs/weights.js";
import { GraphBuilder, type Value } from "../../src/onnx/graph-builder.js";
import { type ElementType, encodeModelProto, type Graph } from "../../src/onnx/model-proto.js";
import type { ProviderName } from "../../src/runtime/providers.js";
import { openSession, type TensorData } from "../../src/runtime/session.js";
import { temporaryFolder } from "../helpers/golden-checkpoints.js";

export interface Tensor {
  readonly type: "float32";
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type Tensors = Readonly<Record<string, Tensor>>;

/** A tensor of another type, as its bytes. */
export interface StoredTensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}
type Inputs = Readonly<Record<string, TensorData>>;
type Outputs = Record<string, Float32Array>;

/** Declares the inputs, lets the test record the rest with its outputs, and runs the graph once. */
export async function runBlocks(
  record: (context: GraphContext, input: (name: string) => Value) => void,
  inputs: Inputs,
  tensors: Readonly<Record<string, Tensor | StoredTensor>> = {},
  { provider = "cpu", ...changes }: Partial<Arithmetic> & { readonly provider?: ProviderName } = {},
): Promise<Outputs> {
  const { folder, locate } = await storeWeights(tensors);
  const builder = new GraphBuilder();
  const values = new Map<string, Value>();
  for (const [name, { type, shape }] of Object.entries(inputs)) values.set(name, builder.input(name, type, shape));
  const input = (name: string) => {
    const value = values.get(name);
    if (value === undefined) throw new Error(`the graph has no input "${name}"`);
    return value;
  };
  const arithmetic = { ...FLOAT32_ARITHMETIC, ...changes };
  record({ builder, weights: new GraphWeights(builder, locate), arithmetic }, input);
  return runGraph(builder.finish(), folder, inputs, provider);
}

/** Opens a session for a graph, runs it once and closes it. */
export async function runGraph(
  graph: Graph,
  folder: string,
  inputs: Inputs,
  provider: ProviderName = "cpu",
): Promise<Outputs> {
  const model = encodeModelProto(graph);
  const session = await openSession({ model, externalDataFolder: folder, provider, purpose: "a test" });
  try {
    return await session.run(inputs);
  } finally {
    await session.release();
  }
}

/** Writes the tensors one behind the other into a file. */
export async function storeWeights(
  tensors: Readonly<Record<string, Tensor | StoredTensor>>,
): Promise<{ readonly folder: string; readonly locate: LocateWeight }> {
  const folder = await temporaryFolder();
  const location = "weights.bin";
  const pieces = Object.values(tensors).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  await writeFile(join(folder, location), Buffer.concat(pieces));
  const names = Object.keys(tensors);
  const locate: LocateWeight = (name) => {
    const index = names.indexOf(name);
    const tensor = tensors[name];
    if (tensor === undefined) throw new Error(`no weight "${name}"`);
    const offset = pieces.slice(0, index).reduce((sum, { length }) => sum + length, 0);
    return {
      elementType: tensor.type,
      shape: tensor.shape,
      data: { location, offset, byteLength: tensor.data.byteLength },
    };
  };
  return { folder, locate };
}

export function tensor(shape: readonly number[], values: Iterable<number>): Tensor {
  return { type: "float32", shape, data: Float32Array.from(values) };
}

/** Numbers between −scale and scale that depend on the seed alone (a linear congruential generator). */
export function randomTensor(shape: readonly number[], seed: number, scale = 1): Tensor {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    shape,
    Array.from({ length: size }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return scale * ((state / 2 ** 32) * 2 - 1);
    }),
  );
}

/** Rows of a tensor along its last axis. */
export function rowsOf({ shape, data }: Pick<Tensor, "shape" | "data">): number[][] {
  const width = shape.at(-1) ?? 1;
  return Array.from({ length: data.length / width }, (_, row) => [...data.subarray(row * width, (row + 1) * width)]);
}

/** Largest |found − expected|; NaN when any is NaN or the lengths differ. */
export function largestDifference(found: ArrayLike<number> | undefined, expected: readonly number[]): number {
  if (found?.length !== expected.length) return Number.NaN;
  return Math.max(...expected.map((value, index) => Math.abs((found[index] ?? Number.NaN) - value)));
}
