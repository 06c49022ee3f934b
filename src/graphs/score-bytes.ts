// Bytes that attention's scores take for a prompt, by the form that computes them: a square of tokens, some rows of it at a
// time, or tiles. Pure arithmetic on sizes.

import { blocksOf, type Decoder } from "../architectures/description.js";
import type { Arithmetic } from "./arithmetic.js";
import { HEADS_AT_A_TIME } from "./attend.js";
import { CHUNK_QUERIES, CHUNKED_TOKENS, UNCUT_TOKENS } from "./attend-in-chunks.js";

/** Scores as numbers, and the shares that they become. */
const COPIES = { "in-chunks": 2, "written-out": 3 } as const;
const FLOAT32_BYTES = 4;

/** Of the layer with the most, for one prompt. */
export function scoreBytes({ layers }: Decoder, { attention }: Arithmetic, tokens: number): number {
  const shapes = layers
    .flatMap(blocksOf)
    .flatMap((block) => (block.kind === "attention" || block.kind === "shared-attention" ? [block] : []));
  const bytes = shapes.map(({ heads, chunkSize = tokens }) => bytesOf(attention, heads, Math.min(tokens, chunkSize)));
  return Math.max(0, ...bytes);
}

function bytesOf(form: Arithmetic["attention"], heads: number, tokens: number): number {
  switch (form) {
    case "fused":
      return 0; // tiles
    case "written-out":
      return COPIES[form] * FLOAT32_BYTES * Math.min(heads, HEADS_AT_A_TIME) * tokens ** 2;
    case "in-chunks": {
      const rows = tokens <= UNCUT_TOKENS ? tokens : tokens <= CHUNKED_TOKENS ? CHUNK_QUERIES : 0;
      return COPIES[form] * FLOAT32_BYTES * heads * rows * tokens;
    }
  }
}
