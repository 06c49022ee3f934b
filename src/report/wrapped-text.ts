// Wraps sentences and commands to the width of a screen. Keeps a number with its unit and an option with its value.
// Pure.

/**
 * Indent of the further lines of a warning or a problem, so that no foreign text begins a line that looks like ours.
 */
export const CONTINUED = "  ";

/** A text as lines of at most `width` characters, each but the first indented. */
export function wrapText(text: string, width: number, indent = ""): string {
  return wrapWords(joinPairs(text.split(" "), belongsToNext), width - indent.length).join(`\n${indent}`);
}

/**
 * A command for a shell, on several lines if it is wider than the screen: broken between options, never between an
 * option and its value.
 * @param words of the command, each as a shell reads it: quoted where it has to be
 */
export function wrapCommand(words: readonly string[], width: number, indent = "  "): string {
  const continued = `${indent}  `;
  // Two columns for the backslash at the end of a line.
  const room = width - continued.length - " \\".length;
  return `${indent}${wrapWords(commandParts(words), room).join(` \\\n${continued}`)}`;
}

/** The words of a command, each option with its value. */
export function commandParts(words: readonly string[]): string[] {
  return joinPairs(words, takesValue);
}

/** Words as lines of at most `width` characters; a longer word is a line of its own. */
function wrapWords(words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

type Pair = (word: string, next: string) => boolean;

/** Words that belong together as one. */
function joinPairs(words: readonly string[], belongsTogether: Pair): string[] {
  const joined: string[] = [];
  let previous: string | undefined;
  for (const word of words) {
    if (previous !== undefined && belongsTogether(previous, word)) joined.push(`${joined.pop()} ${word}`);
    else joined.push(word);
    previous = word;
  }
  return joined;
}

const OPTION = /^["'(]*--?[a-z][\w-]*$/i;
const NUMBER = /^["'(]*[+±-]?\d[\d.,]*(?<![.,])$/;

function takesValue(word: string, next: string): boolean {
  return OPTION.test(word) && !next.startsWith("-");
}

function belongsToNext(word: string, next: string): boolean {
  const isOfNumber = NUMBER.test(word) && !NUMBER.test(next);
  return takesValue(word, next) || isOfNumber || word === "±" || next === "±";
}
