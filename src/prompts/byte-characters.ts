// The characters by which byte-level tokenizers write bytes, as GPT-2 chose them: printable ones stand for themselves, the
// others are moved beyond Latin-1. Knows nothing else.

const CHARACTERS: readonly string[] = byteCharacters();

function byteCharacters(): string[] {
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCharCode(isPrintable ? byte : 256 + moved++);
  });
}

const BYTES: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]));

/** The bytes that such characters stand for; undefined when one stands for none. */
export function fromByteCharacters(characters: string): Buffer | undefined {
  const bytes = Buffer.alloc(characters.length);
  for (let at = 0; at < characters.length; at++) {
    const byte = BYTES.get(characters[at] ?? "");
    if (byte === undefined) return undefined;
    bytes[at] = byte;
  }
  return bytes;
}

/** The UTF-8 bytes of a text, a character for each. */
export function toByteCharacters(text: string): string {
  let characters = "";
  for (const byte of Buffer.from(text, "utf8")) characters += CHARACTERS[byte] ?? "";
  return characters;
}
