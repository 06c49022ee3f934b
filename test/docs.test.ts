// README and docs against the program: every command that they show is one that the program takes, every option that the
// program has stands in them, and they stay short enough to be read.

import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { commandsOf, type DocumentedCommand, PAGES, readPage } from "../scripts/documented-commands.js";
import { createProgram } from "../src/cli.js";
import { TextOutput } from "../src/report/text-output.js";

/** Where the options of each command are listed. */
const PAGE_OF: Readonly<Record<string, string>> = {
  "create-kv-scales": "README.md",
  verify: "docs/verify.md",
  inspect: "docs/formats.md",
  convert: "docs/formats.md",
  diff: "docs/formats.md",
  providers: "docs/providers.md",
  architectures: "docs/architectures.md",
};

/** Options of other programs that the pages name. */
const OF_OTHERS: ReadonlySet<string> = new Set(["--kv-cache-dtype", "--model-id", "--model-path", "--global"]);

const COMMANDS = PAGES.flatMap(commandsOf);

/** The program with commands that do nothing. @param onRun called with the name of the command that would have run */
function idleProgram(onRun: (name: string) => void = () => {}): Command {
  const streams = { stdout: new TextOutput(process.stdout), stderr: new TextOutput(process.stderr) };
  const program = createProgram({ ...streams, signal: new AbortController().signal, ask: undefined });
  for (const command of [program, ...program.commands]) command.action(() => onRun(command.name()));
  return program;
}

const PROGRAM = idleProgram();
const ALL = [PROGRAM, ...PROGRAM.commands];

function optionsOf(command: Command): string[] {
  return command.options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined);
}

describe("every command of the pages is one that the program takes", () => {
  test("they are found", () => {
    expect(COMMANDS.length).toBeGreaterThan(25);
    expect(COMMANDS.filter(({ args }) => args[0] === "verify").length).toBeGreaterThan(3);
  });

  const inBlocks = COMMANDS.filter(({ inBlock }) => inBlock);
  test.each(inBlocks.map((command) => [where(command), command] as const))("%s", async (_, { args }) => {
    const ran: string[] = [];
    await idleProgram((name) => ran.push(name)).parseAsync(args, { from: "user" });
    const [first = ""] = args;
    expect(ran).toEqual([PROGRAM.commands.some((command) => command.name() === first) ? first : "create-kv-scales"]);
  });

  test("options in sentences are options of a command", () => {
    const known = new Set([...ALL.flatMap(optionsOf), "--help", "--version", ...OF_OTHERS]);
    const unknown = ["README.md", ...PAGES.filter((page) => page.startsWith("docs/"))].flatMap((page) =>
      inlineCodes(page).flatMap((code) =>
        [...code.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([flag]) => [page, flag]),
      ),
    );
    expect(unknown.filter(([, flag = ""]) => !known.has(flag))).toEqual([]);
  });
});

describe("every option of the program stands in the pages", () => {
  test.each(ALL.map((command) => [command.name(), command] as const))("%s", (name, command) => {
    const page = PAGE_OF[name];
    expect(page).toBeDefined();
    const codes = inlineCodes(page ?? "").join(" ");
    const absent = command.options.map(({ long }) => long ?? "").filter((flag) => !hasFlag(codes, flag));
    expect(absent).toEqual([]);
  });
});

test("every command has a row in the README", () => {
  const readme = readPage("README.md");
  const names = PROGRAM.commands.map((command) => command.name()).filter((name) => name !== "help");
  expect(names.filter((name) => !readme.includes(`| \`${name}\``))).toEqual([]);
});

test("every page of docs is linked from the README", () => {
  const readme = readPage("README.md") + readPage("ARCHITECTURE.md");
  expect(PAGES.filter((page) => page.startsWith("docs/") && !readme.includes(`(${page})`))).toEqual([]);
});

test.each([
  ["README.md", 200],
  ["ARCHITECTURE.md", 110],
])("%s has at most %d lines, of at most 120 characters", (page, limit) => {
  const lines = readPage(page).trimEnd().split("\n");
  expect(lines.length).toBeLessThanOrEqual(limit);
  expect(lines.filter((line) => [...line].length > 120)).toEqual([]);
});

test("no block of shell commands is unmarked: it would not be read here", () => {
  const unmarked = PAGES.filter((page) => {
    const opening = readPage(page)
      .split("\n")
      .filter((line) => line.startsWith("```"))
      .filter((_, index) => index % 2 === 0);
    return opening.some((line) => line === "```");
  });
  expect(unmarked).toEqual([]);
});

function where({ page, line, text }: DocumentedCommand): string {
  return `${page}:${line} ${text}`;
}

function inlineCodes(page: string): string[] {
  const text = readPage(page).replaceAll(/^```[\s\S]*?^```/gm, "");
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);
}

function hasFlag(codes: string, flag: string): boolean {
  return new RegExp(`(?<![\\w-])${flag}(?![\\w-])`).test(codes);
}
