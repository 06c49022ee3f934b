// Makes the bytes of a small safetensors file of F32 tensors (the scales). Weights never pass through here.

export interface Float32Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/**
 * A safetensors file: header length (8 bytes, little-endian), JSON header padded with spaces to a multiple of 8 bytes,
 * then the data in the order given.
 */
export function encodeSafetensors(
  tensors: readonly Float32Tensor[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let dataBytes = 0;
  for (const { name, shape, values } of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [dataBytes, dataBytes + values.length * 4] };
    dataBytes += values.length * 4;
  }
  const json = Buffer.from(JSON.stringify(header), "utf8");
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const file = Buffer.alloc(8 + headerBytes + dataBytes, " ");
  file.writeBigUInt64LE(BigInt(headerBytes), 0);
  json.copy(file, 8);
  let position = 8 + headerBytes;
  for (const { values } of tensors) {
    for (const value of values) position = file.writeFloatLE(value, position);
  }
  return file;
}
