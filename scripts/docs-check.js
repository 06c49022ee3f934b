// Runs the commands of README and docs in a temporary folder, with the embedded example as the reader's model, and compares
// what they print with the output that the pages show. `npm run docs-check` builds first.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commandsOf, PAGES, ROOT, readPage } from "./documented-commands.js";

const PROGRAM = join(ROOT, "bin/create-kv-scales.js");
/** The model of the pages: a folder, or a hub id, which is replaced by it. */
const MODEL = "my-model";
const HUB_ID = "org/name";
/** Commands that are not run here, and why. */
const NOT_RUN = [
  { pattern: /--install/, why: "downloads 250 MB" },
  { pattern: /^\/models/, why: "is a path in a container" },
  { pattern: /HuggingFaceH4/, why: "downloads a data set" },
  { pattern: /--onto/, why: "needs a quantized form of the model" },
  { pattern: /--retrieval-tokens 32768/, why: "needs a model with as many positions" },
];
/** Blocks of output, by what the pages show them for. */
const SHOWN = [
  { page: "README.md", args: exampleArgs(), numbers: true },
  { page: "docs/verify.md", args: ["verify", "tiny-llama-FP8-KV"], numbers: false },
  { page: "docs/formats.md", args: ["inspect", "tiny-llama-FP8-KV"], numbers: true },
];

const folder = mkdtempSync(join(tmpdir(), "docs-check-"));
let failures = 0;
try {
  cpSync(join(ROOT, "examples/tiny-llama"), join(folder, MODEL), { recursive: true });
  cpSync(join(ROOT, "calibration-data/calibration/dialogue.jsonl"), join(folder, "prompts.jsonl"));
  for (const { page, args, numbers } of SHOWN) compareOutput(page, run(args), numbers);
  const seen = new Set();
  for (const { page, line, args, inBlock } of PAGES.flatMap(commandsOf)) {
    const words = args.map((word) => (word === HUB_ID ? `./${MODEL}` : word));
    const text = words.join(" ");
    if (!inBlock || seen.has(text)) continue;
    seen.add(text);
    const skipped = NOT_RUN.find(({ pattern }) => pattern.test(text));
    if (skipped) {
      console.log(`not run: ${text} (${skipped.why})`);
      continue;
    }
    removeOutputOf(words);
    run(words, `${page}:${line}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(failures === 0 ? "All commands of the pages work." : `${failures} failed.`);
process.exitCode = failures === 0 ? 0 : 1;

/** The arguments of `npm run example`. */
function exampleArgs() {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return scripts.example.split("create-kv-scales.js ")[1].split(" ");
}

/** @param {string[]} args @param {string} [where] @returns {string} stdout */
function run(args, where = "shown") {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { cwd: folder, encoding: "utf8" });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${status === 0 ? "ok" : `exit ${status}`}: ${args.join(" ")} (${where}, ${seconds} s)`);
  if (status !== 0) {
    failures++;
    console.log(stderr);
  }
  return stdout;
}

/** A reader has one of the commands in mind, not one after the other: each finds its output absent. @param {string[]} args */
function removeOutputOf(args) {
  const named = args.indexOf("--output");
  const defaults =
    args[0] === "convert" ? `${MODEL}-FP8-KV-vllm` : args[0] === `./${MODEL}` ? `${MODEL}-FP8-KV` : undefined;
  const output = named < 0 ? defaults : args[named + 1];
  if (output !== undefined) rmSync(join(folder, output), { recursive: true, force: true });
}

/**
 * Compares the first block of output in a page with what was printed: the words, and the numbers too where they do not
 * depend on the machine. Line breaks depend on the length of paths.
 * @param {string} page @param {string} printed @param {boolean} numbers
 */
function compareOutput(page, printed, numbers) {
  const shown = /```text\n([\s\S]*?)```/.exec(readPage(page))?.[1] ?? "";
  const [expected, found] = [plain(shown), plain(printed)];
  const [first, second] = numbers ? [expected, found] : [withoutNumbers(expected), withoutNumbers(found)];
  if (first === second) return;
  failures++;
  const at = [...first].findIndex((character, index) => character !== second[index]);
  console.log(`${page} shows:  …${first.slice(Math.max(at - 60, 0), at + 60)}…`);
  console.log(`but it prints:  …${second.slice(Math.max(at - 60, 0), at + 60)}…`);
}

/** Without line breaks, folders and times. @param {string} text */
function plain(text) {
  return text
    .replaceAll(/\s+/g, " ")
    .replaceAll(/(\\ )?\/\S*\/(?=tiny-llama)/g, "")
    .replaceAll(/[\d.]+ s\b/g, "# s")
    .replaceAll(" \\ ", " ")
    .trim();
}

/** @param {string} text */
function withoutNumbers(text) {
  return text.replaceAll(/[\d.]+(e-?\d+)?/g, "#").replaceAll(/[▏▎▍▌▋▊▉█]+/g, "");
}
