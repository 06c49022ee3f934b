// The caches that a verification compares, one entry per arm: what each keeps of K and V. The command line's choices
// are the keys.

import type { ScalesAsRead } from "../checkpoint/read-scales.js";
import { type CacheRounding, type Side, scaleAt } from "../graphs/kv-cache.js";
import { FLOAT8_CODES, type Float8Name } from "../numerics/float8.js";
import type { ArmName } from "./verify-result.js";

export interface ArmFacts {
  readonly dtype: Float8Name;
  readonly scales: ScalesAsRead | undefined;
  readonly bits16: "bfloat16" | "float16";
}

interface Arm {
  readonly description: (facts: ArmFacts) => string;
  readonly rounding: (facts: ArmFacts) => CacheRounding;
}

const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;
const LARGEST_BITS16 = { bfloat16: (2 - 2 ** -7) * 2 ** 127, float16: 65504 } as const;

export const ARMS: Readonly<Record<ArmName, Arm>> = {
  exact: {
    description: () => "float32",
    rounding: () => ({ elementType: "float32", largest: LARGEST_FLOAT32 }),
  },
  "16-bit": {
    description: ({ bits16 }) => bits16,
    rounding: ({ bits16 }) => ({ elementType: bits16, largest: LARGEST_BITS16[bits16] }),
  },
  fp8: {
    description: ({ dtype, scales }) => `${dtype}, ${scales?.source ?? "scale 1.0"}`,
    rounding: ({ dtype, scales }) => ({
      elementType: dtype,
      largest: FLOAT8_CODES[dtype].largest,
      ...(scales !== undefined && {
        scales: {
          k: Object.fromEntries(scales.layers.map(({ layer, kScale }) => [layer, kScale])),
          v: Object.fromEntries(scales.layers.map(({ layer, vScale }) => [layer, vScale])),
        },
      }),
    }),
  },
  "fp8-at-1": {
    description: ({ dtype }) => `${dtype}, scale 1.0`,
    rounding: ({ dtype }) => ({ elementType: dtype, largest: FLOAT8_CODES[dtype].largest }),
  },
  e5m2: {
    description: () => "float8_e5m2, no scale",
    rounding: () => ({ elementType: "float8_e5m2", largest: FLOAT8_CODES.float8_e5m2.largest }),
  },
};

export interface ArmRoundings {
  readonly roundings: readonly CacheRounding[];
  indexOf(arm: ArmName): number;
  describe(arm: ArmName): string;
  scaleOf(arm: ArmName, side: Side, layer: number): number;
}

/** The roundings of all arms for one checkpoint. */
export function roundingsOf(facts: ArmFacts): ArmRoundings {
  const names = Object.keys(ARMS) as ArmName[];
  const roundings = names.map((name) => ARMS[name].rounding(facts));
  return {
    roundings,
    indexOf: (arm) => names.indexOf(arm),
    describe: (arm) => ARMS[arm].description(facts),
    scaleOf: (arm, side, layer) => scaleAt(roundings[names.indexOf(arm)] ?? {}, { layer, side }),
  };
}
