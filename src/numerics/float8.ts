// The FP8 formats that a KV cache may use, and the divisor that turns an absmax into a scale.
// Knows nothing of checkpoints; casts are not here.

export interface Float8Format {
  /** Largest finite value of the format. */
  readonly largest: number;
  /** absmax / divisor = scale. Not always `largest`: see FLOAT8_FORMATS. */
  readonly scaleDivisor: number;
  readonly description: string;
}

/**
 * E4M3FNUZ divides by 224, not by its largest value 240: engines on AMD hardware double an E4M3FN scale (the same
 * byte means half the value), so a scale must mean absmax / 448 in one format and twice that in the other. With 240,
 * every engine that converts between the two would clip the largest values.
 */
export const FLOAT8_FORMATS = {
  float8_e4m3fn: { largest: 448, scaleDivisor: 448, description: "E4M3FN: NVIDIA, CPU" },
  float8_e4m3fnuz: { largest: 240, scaleDivisor: 224, description: "E4M3FNUZ: AMD MI300" },
} as const satisfies Record<string, Float8Format>;

export type Float8Name = keyof typeof FLOAT8_FORMATS;
