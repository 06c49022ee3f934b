// The npm package has no types. Only what the tests call.
declare module "safetensors" {
  export class SafeTensor {
    constructor(file: Uint8Array);
    readonly metadata: ReadonlyMap<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
    getTensor(name: string): Uint8Array;
  }
}
