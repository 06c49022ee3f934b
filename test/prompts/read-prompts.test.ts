// What a file of prompts may hold, and how an error says where it does not.

import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { PromptDataError } from "../../src/errors.js";
import { readPrompts } from "../../src/prompts/read-prompts.js";
import { temporaryFolder } from "../helpers/golden-checkpoints.js";

const HELLO = [{ role: "user", content: "Hello" }];
const REPLY = [{ role: "assistant", content: "Hi" }];

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, content);
  return path;
}

/** Prompts without the folder in their source. */
async function read(path: string) {
  return (await readPrompts(path)).map((prompt) => ({ ...prompt, source: basename(prompt.source) }));
}

describe("each line of a .txt file is a prompt", () => {
  test.each<[string, string, [line: number, text: string][]]>([
    [
      "with its spaces, as it is",
      "  one \ntwo",
      [
        [1, "  one "],
        [2, "two"],
      ],
    ],
    [
      "and empty lines are passed over, but counted",
      "one\n\n \t\nfour\n",
      [
        [1, "one"],
        [4, "four"],
      ],
    ],
    [
      "with Windows line ends",
      "one\r\ntwo\r\n",
      [
        [1, "one"],
        [2, "two"],
      ],
    ],
    ["without the byte order mark", "\uFEFFone", [[1, "one"]]],
    ["even when it looks like JSON", '{"text": "x"}', [[1, '{"text": "x"}']]],
  ])("%s", async (_rule, content, expected) => {
    const prompts = expected.map(([line, text]) => ({ source: `p.txt:${line}`, text }));
    expect(await read(await write("p.txt", content))).toEqual(prompts);
  });
});

describe("a line of a .jsonl file is", () => {
  test.each<[string, object, object]>([
    ["text", { text: "a\nb" }, { text: "a\nb" }],
    ["text, whatever other keys it has", { id: 7, text: "a", tags: [] }, { text: "a" }],
    ["messages", { messages: HELLO }, { messages: HELLO }],
    ["prompt and completion as text, joined", { prompt: "2 + 2 =", completion: " 4" }, { text: "2 + 2 = 4" }],
    [
      "prompt and completion as messages, joined",
      { prompt: HELLO, completion: REPLY },
      { messages: [...HELLO, ...REPLY] },
    ],
  ])("%s", async (_rule, row, expected) => {
    const path = await write("p.jsonl", `${JSON.stringify(row)}\n`);
    expect(await read(path)).toEqual([{ source: "p.jsonl:1", ...expected }]);
  });
});

test("a folder gives the prompts of its .txt and .jsonl files in the order of their names, and no others", async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "deeper"));
  const files = {
    "b.txt": "second",
    "a.jsonl": '{"text": "first"}',
    "c.md": "no",
    "deeper/a.txt": "no",
    "d.TXT": "no",
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  expect((await read(folder)).map((prompt) => "text" in prompt && prompt.text)).toEqual(["first", "second"]);
});

describe("an error names file, line and what was found", () => {
  const good = '{"text": "x"}';
  test.each<[string, string, string | Uint8Array, string[]]>([
    ["a line that is no JSON", "p.jsonl", `${good}\n{"text": `, ["p.jsonl:2", "not valid JSON"]],
    ["the line after empty ones", "p.jsonl", `\n\n${good}\n[]`, ["p.jsonl:4", "found []"]],
    ["an object without a known key", "p.jsonl", '{"question": "x", "id": 1}', ["p.jsonl:1", "keys question, id"]],
    ["an empty object", "p.jsonl", "{}", ["p.jsonl:1", "found keys none"]],
    ["null", "p.jsonl", "null", ["p.jsonl:1", "found null"]],
    ["text that is a number", "p.jsonl", '{"text": 1}', ["p.jsonl:1", "keys text"]],
    ["no messages in the list", "p.jsonl", '{"messages": []}', ["p.jsonl:1", "keys messages"]],
    ["a message without a role", "p.jsonl", '{"messages": [{"content": "x"}]}', ["p.jsonl:1", "role and content"]],
    ["a message with a list as content", "p.jsonl", '{"messages": [{"role": "user", "content": []}]}', ["p.jsonl:1"]],
    ["a prompt without completion", "p.jsonl", '{"prompt": "x"}', ["p.jsonl:1", "keys prompt"]],
    ["bytes that are not UTF-8", "p.txt", Uint8Array.of(0x61, 0xff), ["p.txt", "cannot be read as UTF-8"]],
    ["an empty file", "p.txt", "", ["p.txt", "holds no prompt"]],
    ["a file of empty lines", "p.jsonl", "\n \n", ["p.jsonl", "holds no prompt"]],
    ["a file of another kind", "p.csv", "x", ["p.csv", "expected a .txt or .jsonl file"]],
  ])("%s", async (_rule, name, content, parts) => {
    const error = await readPrompts(await write(name, content)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PromptDataError);
    for (const part of parts) expect(error).toHaveProperty("message", expect.stringContaining(part));
  });

  test("a path that is not there", async () => {
    const path = join(await temporaryFolder(), "absent.jsonl");
    await expect(readPrompts(path)).rejects.toThrow(`${path}: cannot be opened`);
  });

  test("a folder without prompts", async () => {
    await expect(readPrompts(await temporaryFolder())).rejects.toThrow("the folder has no .txt or .jsonl file");
  });

  test("one bad file among good ones", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "good.txt"), "x");
    await writeFile(join(folder, "bad.jsonl"), `${good}\n${good}\n!`);
    await expect(readPrompts(folder)).rejects.toThrow("bad.jsonl:3: not valid JSON");
  });
});
