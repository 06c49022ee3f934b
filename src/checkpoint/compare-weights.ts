// Compares what two checkpoints of one model must have in common whatever became of their other weights: tensors that
// both store as floats of 16 bits or more, norms among them. Reads vectors whole and a sample of larger tensors.

import { decodeFloats, isFloatDtype } from "./float-elements.js";
import type { Checkpoint, TensorLocation } from "./open-checkpoint.js";
import { withPlainFile } from "./plain-file.js";
import { isScaleName } from "./scale-names.js";
import { takeTurns } from "./take-turns.js";

/** Something in which another checkpoint is not as expected. */
export interface Difference {
  readonly what: string;
  readonly expected: string;
  readonly found: string;
  /** The other checkpoint's file. */
  readonly file: string;
}

/** Tensors that quantization leaves in 16 bits. */
const NORM = /norm|(^|\.)ln_/i;

/** Elements that are read at a time. */
const PIECE = 2048;
/** Pieces of a large tensor, at equal distances. */
const PIECES = 16;

/**
 * Differences between the floats of two checkpoints. Tensors that the other one stores in fewer bits are left out; a norm
 * that it lacks is a difference, and so is having none in common.
 * @param nameOf the other checkpoint's name of a tensor
 * @throws CheckpointError when a file cannot be read
 */
export async function compareWeights(
  one: Checkpoint,
  other: Checkpoint,
  nameOf: (name: string) => string,
): Promise<Difference[]> {
  const floats = [...one.tensors.values()].filter(({ name, dtype }) => isFloatDtype(dtype) && !isScaleName(name));
  const missing = floats.flatMap(({ name, shape }): Difference[] => {
    const wanted = nameOf(name);
    if (shape.length > 1 || !NORM.test(name) || other.tensors.has(wanted)) return [];
    return [
      { what: `tensor "${wanted}"`, expected: `shape [${shape.join(", ")}]`, found: "none", file: indexOf(other) },
    ];
  });
  const pairs = floats.flatMap((ours) => {
    const theirs = other.tensors.get(nameOf(ours.name));
    return theirs !== undefined && isFloatDtype(theirs.dtype) ? [[ours, theirs] as const] : [];
  });
  const differences = (await takeTurns(pairs, differenceOf)).flat();
  if (!pairs.some(([{ name }]) => NORM.test(name)) && missing.length === 0) {
    return [...differences, { what: "norms", expected: "some of the same names", found: "none", file: indexOf(other) }];
  }
  return [...missing, ...differences];
}

function indexOf({ shards }: Checkpoint): string {
  return shards.map(({ name }) => name).join(", ");
}

async function differenceOf([ours, theirs]: readonly [TensorLocation, TensorLocation]): Promise<Difference[]> {
  const what = `tensor "${theirs.name}"`;
  const file = theirs.shard;
  if (ours.shape.join() !== theirs.shape.join()) {
    return [{ what, expected: `shape [${ours.shape.join(", ")}]`, found: `[${theirs.shape.join(", ")}]`, file }];
  }
  const elements = ours.shape.reduce((product, size) => product * size, 1);
  return withPlainFile(ours.file, (first) =>
    withPlainFile(theirs.file, async (second) => {
      for (const [start, count] of piecesOf(elements)) {
        const read = async ({ read }: typeof first, { dtype, offset, byteLength }: TensorLocation) => {
          const size = byteLength / elements;
          return decodeFloats(dtype, await read(offset + start * size, count * size), count);
        };
        const [a, b] = await Promise.all([read(first, ours), read(second, theirs)]);
        const place = a.findIndex((value, index) => !isSame(value, b[index], ours.dtype === theirs.dtype));
        if (place !== -1) {
          return [{ what: `${what}[${start + place}]`, expected: String(a[place]), found: String(b[place]), file }];
        }
      }
      return [];
    }),
  );
}

/** Start and length of what is compared: everything, or pieces at equal distances from the first to the last. */
function piecesOf(elements: number): (readonly [start: number, count: number])[] {
  const whole = Math.ceil(elements / PIECE);
  const count = Math.min(whole, PIECES);
  return Array.from({ length: count }, (_, piece) => {
    const start = Math.floor((piece * (whole - 1)) / Math.max(count - 1, 1)) * PIECE;
    return [start, Math.min(PIECE, elements - start)] as const;
  });
}

/** Equal numbers in equal dtypes; otherwise what rounding to the smaller type may make of one. */
function isSame(a: number, b: number | undefined, areOfOneType: boolean): boolean {
  if (b === undefined) return false;
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  return !areOfOneType && Math.abs(a - b) <= 2 ** -8 * Math.abs(a) + 2 ** -24;
}
