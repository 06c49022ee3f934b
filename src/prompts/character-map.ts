// SentencePiece's normalization table, which tokenizer.json holds in base64 (`Precompiled`): a trie as a double array, and
// the texts that its leaves point at. Knows nothing of tokens.

/** The kinds of a unit's bits, as the Darts library lays them out. */
const hasLeaf = (unit: number) => ((unit >>> 8) & 1) === 1;
const leafOf = (unit: number) => unit & 0x7fffffff;
const labelOf = (unit: number) => (unit & 0x800000ff) >>> 0;
const offsetOf = (unit: number) => ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;

/** Graphemes up to so many bytes are looked for as a whole. */
const WHOLE_BYTES = 5;

/**
 * How a text is normalized by the table.
 * @throws Error when it is damaged
 */
export function createCharacterMap(base64: string): (text: string) => string {
  const bytes = Buffer.from(base64, "base64");
  const size = bytes.length < 4 ? Number.NaN : bytes.readUInt32LE(0);
  if (!(size % 4 === 0 && size > 0 && 4 + size <= bytes.length)) {
    throw new Error(`Precompiled: the table of ${bytes.length} bytes is damaged`);
  }
  const units = Array.from({ length: size / 4 }, (_, index) => bytes.readUInt32LE(4 + 4 * index));
  const texts = bytes.subarray(4 + size);
  const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

  /** What the shortest beginning that the table has becomes; undefined when it has none. */
  function find(chunk: string): string | undefined {
    let at = offsetOf(units[0] ?? 0);
    for (const byte of Buffer.from(chunk, "utf8")) {
      if (byte === 0) return undefined;
      at ^= byte;
      const unit = units[at];
      if (unit === undefined || labelOf(unit) !== byte) return undefined;
      at ^= offsetOf(unit);
      if (hasLeaf(unit)) return textAt(leafOf(units[at] ?? 0));
    }
    return undefined;
  }

  function textAt(start: number): string {
    const end = texts.indexOf(0, start);
    return texts.toString("utf8", start, end < 0 ? texts.length : end);
  }

  return (text) => {
    let normalized = "";
    for (const { segment } of graphemes.segment(text)) {
      const whole = Buffer.byteLength(segment) <= WHOLE_BYTES ? find(segment) : undefined;
      if (whole === undefined) for (const character of segment) normalized += find(character) ?? character;
      else normalized += whole;
    }
    return normalized;
  };
}
