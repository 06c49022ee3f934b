// The SHA-256 of a sequence of texts, which need not be kept. Knows nothing of their meaning.

import { createHash } from "node:crypto";

/**
 * Each text is hashed with its length, so that moving a boundary changes the hash. A single text is hashed without it.
 */
export class TextsHash {
  readonly #alone = createHash("sha256");
  readonly #withLengths = createHash("sha256");
  #count = 0;

  add(text: string): this {
    if (this.#count === 0) this.#alone.update(text);
    this.#withLengths.update(`${Buffer.byteLength(text)}\n`).update(text);
    this.#count++;
    return this;
  }

  /** The hash of the texts so far, in hexadecimal. */
  digest(): string {
    return (this.#count === 1 ? this.#alone : this.#withLengths).copy().digest("hex");
  }
}

/** The hash of one text. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
