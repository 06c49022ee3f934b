// The numbers that a graph makes of a weight's source, and those of a formula.

import { shapeOf, type WeightSource } from "../../src/architectures/weight-source.js";
import { rowsOf, runBlocks, type StoredTensor, type Tensor } from "./run-graph.js";

export type Stored = Tensor | StoredTensor;

/** Rounded to float32, as DequantizeLinear's products are; zeros without sign, which no sum shows. */
export function expectedMatrix(
  [rows, columns]: readonly [number, number],
  number: (row: number, column: number) => number,
  scale: (row: number, column: number) => number,
): number[][] {
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (_, column) => Math.fround(number(row, column) * scale(row, column)) + 0),
  );
}

export async function numbersOf(source: WeightSource, tensors: Readonly<Record<string, Stored>>): Promise<number[][]> {
  const shape = shapeOf(source);
  const { y } = await runBlocks(
    ({ builder, weights }) => builder.output(weights.as("float32", source), "y", "float32", shape),
    {},
    tensors,
  );
  return rowsOf({ shape, data: (y ?? new Float32Array()).map((value) => value + 0) });
}
