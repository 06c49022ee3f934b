// Reads the commands that README and docs tell people to type. Knows no option of the program: it only finds where the
// program is called and with which arguments.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

const PROGRAM = "create-kv-scales";
/** What a command that runs the program begins with. Others, such as npm, mean the package. */
const RUNNERS = new Set([PROGRAM, "npx", "docker"]);

/** Every page for readers, from the repository's root. */
export const PAGES = [
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md"],
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .sort()
    .map((name) => `docs/${name}`),
];

/**
 * @typedef {object} DocumentedCommand
 * @property {string} page
 * @property {number} line in the page, from 1
 * @property {string} text as it stands there, without comment and on one line
 * @property {readonly string[]} args what the program is given
 * @property {boolean} inBlock whether it stands in a block of shell commands; else in a sentence
 */

/** @param {string} page @returns {string} */
export function readPage(page) {
  return readFileSync(join(ROOT, page), "utf8");
}

/**
 * The calls of the program in a page: in blocks marked `sh` or `dockerfile`, and in sentences as inline code.
 * @param {string} page
 * @returns {DocumentedCommand[]}
 */
export function commandsOf(page) {
  const lines = readPage(page).split("\n");
  /** @type {DocumentedCommand[]} */
  const commands = [];
  /** @type {string | undefined} */
  let block;
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    const at = { page, line: index + 1 };
    const fence = /^\s*```(\w*)/.exec(line);
    if (fence) {
      block = block === undefined ? fence[1] : undefined;
    } else if (block === "sh" || block === "dockerfile") {
      let whole = line;
      while (whole.endsWith("\\") && index + 1 < lines.length) whole = `${whole.slice(0, -1)} ${lines[++index] ?? ""}`;
      commands.push(...callsIn(whole).map((call) => ({ ...at, ...call, inBlock: true })));
    } else if (block === undefined) {
      const codes = [...line.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
      commands.push(...codes.flatMap(callsIn).map((call) => ({ ...at, ...call, inBlock: false })));
    }
  }
  return commands;
}

/** @param {string} line @returns {{ text: string, args: string[] }[]} */
function callsIn(line) {
  return line
    .replace(/(^|\s)#.*$/, "")
    .split(/&&|\|\||[|;]/)
    .flatMap((part) => {
      const words = wordsOf(part);
      const at = words.indexOf(PROGRAM);
      const [first = ""] = words[0] === "RUN" ? words.slice(1) : words;
      if (at < 0 || !RUNNERS.has(first) || words[at - 1] === "-t" || words.length === 1) return [];
      return [{ text: part.trim(), args: words.slice(at + 1) }];
    });
}

/** Words as a shell splits them; quotes hold one together. @param {string} text @returns {string[]} */
function wordsOf(text) {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? "");
}
