// The execution providers that sessions can run on: one entry each. Imports no ONNX Runtime: it only says what to ask for.

export interface Provider {
  /** Name in ONNX Runtime. */
  readonly executionProvider: string;
  /** Bytes of weights, as held in memory, that a segment is filled up to when no limit is given. */
  readonly defaultSegmentBytes: number;
}

export const PROVIDERS = {
  // Opening a session costs little more than reading its weights, so small segments are as fast as large ones.
  cpu: { executionProvider: "cpu", defaultSegmentBytes: 32 * 2 ** 20 },
} as const satisfies Record<string, Provider>;

export type ProviderName = keyof typeof PROVIDERS;
