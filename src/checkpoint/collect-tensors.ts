// Joins the tensors of all shards into one list. A tensor in two shards is accepted when both have the same bytes, as
// engines do, and refused when they differ. Otherwise reads no tensor data.

import { CheckpointError } from "../errors.js";
import type { Shard, TensorLocation } from "./open-checkpoint.js";
import { withPlainFile } from "./plain-file.js";
import { takeTurns } from "./take-turns.js";

/** A tensor that two shards store with the same bytes. */
export interface RepeatedTensor {
  readonly name: string;
  readonly shards: readonly [read: string, other: string];
}

export interface CollectedTensors {
  readonly tensors: ReadonlyMap<string, TensorLocation>;
  readonly repeated: readonly RepeatedTensor[];
}

/**
 * Every tensor by its name.
 * @param shardOf the shard that the index names for a tensor; it decides which copy of a repeated one is read
 * @throws CheckpointError naming both shards when two copies of a tensor differ
 */
export async function collectTensors(
  shards: readonly Shard[],
  shardOf: Readonly<Record<string, string>>,
): Promise<CollectedTensors> {
  const tensors = new Map<string, TensorLocation>();
  const pairs: (readonly [read: TensorLocation, other: TensorLocation])[] = [];
  for (const shard of shards) {
    for (const tensor of shard.header.tensors) {
      const location = { ...tensor, file: shard.path, shard: shard.name };
      const known = tensors.get(tensor.name);
      const isNamed = Object.hasOwn(shardOf, tensor.name) && shardOf[tensor.name] === shard.name;
      if (known === undefined || isNamed) tensors.set(tensor.name, location);
      if (known !== undefined) pairs.push(isNamed ? [location, known] : [known, location]);
    }
  }
  await takeTurns(pairs, refuseDifferentCopies);
  return { tensors, repeated: pairs.map(([read, other]) => ({ name: read.name, shards: [read.shard, other.shard] })) };
}

async function refuseDifferentCopies([read, other]: readonly [TensorLocation, TensorLocation]): Promise<void> {
  const difference = await differenceOf(read, other);
  if (difference === undefined) return;
  throw new CheckpointError(
    `${other.file}: tensor "${read.name}" is also in ${read.shard}, and the two differ in ${difference}: engines would take one or the other. Remove the file that is out of date, or download the checkpoint again.`,
  );
}

async function differenceOf(one: TensorLocation, other: TensorLocation): Promise<string | undefined> {
  if (one.dtype !== other.dtype) return `dtype (${one.dtype}, ${other.dtype})`;
  if (one.shape.join() !== other.shape.join()) return `shape ([${one.shape.join(", ")}], [${other.shape.join(", ")}])`;
  return (await haveSameBytes(one, other)) ? undefined : "their bytes";
}

const CHUNK_BYTES = 2 ** 22;

async function haveSameBytes(one: TensorLocation, other: TensorLocation): Promise<boolean> {
  return withPlainFile(one.file, (first) =>
    withPlainFile(other.file, async (second) => {
      for (let done = 0; done < one.byteLength; done += CHUNK_BYTES) {
        const length = Math.min(CHUNK_BYTES, one.byteLength - done);
        const [a, b] = await Promise.all([
          first.read(one.offset + done, length),
          second.read(other.offset + done, length),
        ]);
        if (!a.equals(b)) return false;
      }
      return true;
    }),
  );
}
