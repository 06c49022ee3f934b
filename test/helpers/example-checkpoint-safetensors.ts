// A safetensors file taken apart and put together again, for tests that need one which is broken or cut differently.
// Checks nothing, and shares no code with the program.

export interface RawTensor {
  dtype: unknown;
  shape: unknown;
  readonly data: Buffer;
}

export class SafetensorsFile {
  readonly tensors: Map<string, RawTensor>;
  readonly metadata: unknown;

  constructor(tensors: Map<string, RawTensor>, metadata: unknown) {
    this.tensors = tensors;
    this.metadata = metadata;
  }

  static parse(bytes: Buffer): SafetensorsFile {
    const { header, data } = splitFile(bytes);
    const tensors = new Map<string, RawTensor>();
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      tensors.set(name, { dtype, shape, data: data.subarray(data_offsets[0], data_offsets[1]) });
    }
    return new SafetensorsFile(tensors, header.__metadata__);
  }

  names(): string[] {
    return [...this.tensors.keys()];
  }

  /** Only these tensors. */
  pick(names: readonly string[]): SafetensorsFile {
    return new SafetensorsFile(new Map([...this.tensors].filter(([name]) => names.includes(name))), this.metadata);
  }

  dataBytes(): number {
    return [...this.tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
  }

  bytes(): Buffer {
    const header: Record<string, unknown> = { __metadata__: this.metadata };
    let offset = 0;
    for (const [name, { dtype, shape, data }] of this.tensors) {
      header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] };
      offset += data.length;
    }
    return joinFile(JSON.stringify(header), Buffer.concat([...this.tensors.values()].map(({ data }) => data)));
  }
}

export interface RawEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** Header and data of a file that is sound. */
export function splitFile(bytes: Buffer): { text: string; header: Record<string, RawEntry>; data: Buffer } {
  const length = Number(bytes.readBigUInt64LE());
  const text = bytes.toString("utf8", 8, 8 + length);
  return { text, header: JSON.parse(text) as Record<string, RawEntry>, data: bytes.subarray(8 + length) };
}

/** A file of any header, whether it makes sense or not. @param length what the first 8 bytes claim */
export function joinFile(header: string | Buffer, data: Buffer, length?: bigint): Buffer {
  const text = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, data]);
}
