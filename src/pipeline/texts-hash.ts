// The SHA-256 of texts as they come, so that none has to be kept. Knows nothing of what they are.

import { createHash } from "node:crypto";

/** Each text is hashed with its length, so that moving a boundary changes the hash; one that stays alone is hashed alone. */
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

  /** In hexadecimal. To be called once, when all have been added. */
  digest(): string {
    return (this.#count === 1 ? this.#alone : this.#withLengths).digest("hex");
  }
}

/** Of one text. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
