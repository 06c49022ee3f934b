// Sentences as lines that a terminal of 80 columns does not break. Pure.

/** Before the further lines of a warning or a problem, so that words of others in it begin no line that looks like ours. */
export const CONTINUED = "  ";

/** A text as lines of at most `width` characters, each but the first indented. */
export function wrapText(text: string, width: number, indent = ""): string {
  return wrapWords(text.split(" "), width - indent.length).join(`\n${indent}`);
}

/** Words as lines of at most `width` characters; a longer word is a line of its own. */
export function wrapWords(words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
