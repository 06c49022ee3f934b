// Sentences as lines that a terminal of 80 columns does not break. Pure.

/** Words as lines of at most `width` characters, each but the first indented; a longer word is a line of its own. */
export function wrapText(text: string, width: number, indent = ""): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width - indent.length) {
      lines[lines.length - 1] = `${line} ${word}`;
    } else lines.push(word);
  }
  return lines.join(`\n${indent}`);
}
