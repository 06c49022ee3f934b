// What a file of prompts may hold, and how an error says where it does not.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { PromptDataError } from "../../src/errors.js";
import { readPrompts } from "../../src/prompts/read-prompts.js";
import { GOLDEN_FOLDER, temporaryFolder } from "../helpers/golden-checkpoints.js";

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

describe("a row of a conversation is", () => {
  const CALL = { type: "function", function: { name: "f", arguments: '{"a": 1}' } };
  const TOOL = { type: "function", function: { name: "f", parameters: {} } };
  const asked = (...messages: object[]) => ({ messages: [...HELLO, ...messages] });

  test.each<[string, object, object]>([
    [
      "messages with calls of tools and content null",
      asked(
        { role: "assistant", content: null, tool_calls: [CALL] },
        { role: "tool", tool_call_id: "1", content: "2" },
      ),
      asked(
        { role: "assistant", content: null, tool_calls: [CALL] },
        { role: "tool", tool_call_id: "1", content: "2" },
      ),
    ],
    [
      "messages with calls of tools and no content",
      asked({ role: "assistant", tool_calls: [CALL] }),
      asked({ role: "assistant", tool_calls: [CALL] }),
    ],
    [
      "messages with content as parts",
      asked({ role: "assistant", content: [{ type: "text", text: "a" }] }),
      asked({ role: "assistant", content: [{ type: "text", text: "a" }] }),
    ],
    ["messages with tools", { messages: HELLO, tools: [TOOL] }, { messages: HELLO, tools: [TOOL] }],
    [
      "messages with tools as JSON, as tables have them",
      { messages: HELLO, tools: JSON.stringify([TOOL]) },
      { messages: HELLO, tools: [TOOL] },
    ],
    ["messages without tools", { messages: HELLO, tools: null }, { messages: HELLO }],
    [
      "conversations of ShareGPT",
      {
        conversations: [
          { from: "system", value: "s" },
          { from: "human", value: "h" },
          { from: "gpt", value: "g", weight: 1 },
          { from: "tool", value: "t" },
        ],
      },
      {
        messages: [
          { role: "system", content: "s" },
          { role: "user", content: "h" },
          { role: "assistant", content: "g" },
          { role: "tool", content: "t" },
        ],
      },
    ],
    [
      "conversations with their system prompt beside them",
      { system: "s", conversations: [{ from: "human", value: "h" }] },
      {
        messages: [
          { role: "system", content: "s" },
          { role: "user", content: "h" },
        ],
      },
    ],
    ["conversations of roles", { conversations: HELLO }, { messages: HELLO }],
    [
      "an instruction with input and output (Alpaca)",
      { instruction: "Add.", input: "1 and 2", output: "3" },
      {
        messages: [
          { role: "user", content: "Add.\n\n1 and 2" },
          { role: "assistant", content: "3" },
        ],
      },
    ],
    [
      "an instruction with output alone",
      { instruction: "Hello", input: "", output: "Hi" },
      { messages: [...HELLO, ...REPLY] },
    ],
    ["text with numbers that only Python writes", { text: "a", score: "NaN", worst: "-Infinity" }, { text: "a" }],
  ])("%s", async (_rule, row, expected) => {
    const json = JSON.stringify(row).replace(/"(NaN|-?Infinity)"/g, "$1");
    expect(await read(await write("p.jsonl", json))).toEqual([{ source: "p.jsonl:1", ...expected }]);
    expect(await read(await write("p.json", `[\n${json}]`))).toEqual([{ source: "p.json:row 1", ...expected }]);
  });

  test.each<[string, object, string]>([
    ["a role without content", { messages: [...HELLO, { role: "assistant" }] }, "message 2 has the content nothing"],
    [
      "an image",
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] },
      "only parts of type text are known",
    ],
    [
      "an unknown speaker",
      { conversations: [{ from: "bird", value: "x" }] },
      'message 1 is from "bird"; known are human',
    ],
    ["tools that are no JSON", { messages: HELLO, tools: "[" }, "its tools are no JSON list"],
  ])("no prompt with %s, and the error says so", async (_what, row, says) => {
    await expect(readPrompts(await write("p.jsonl", JSON.stringify(row)))).rejects.toThrow(says);
  });
});

describe("a column that is named counts before all others", () => {
  test.each<[string, object, object]>([
    ["as text", { text: "no", body: "yes" }, { text: "yes" }],
    ["as messages", { text: "no", body: HELLO }, { messages: HELLO }],
  ])("%s", async (_rule, row, expected) => {
    const [prompt] = await readPrompts(await write("p.jsonl", JSON.stringify(row)), { column: "body" });
    expect(prompt).toMatchObject(expected);
  });

  test("and must be there", async () => {
    const path = await write("p.jsonl", '{"text": "a"}');
    await expect(readPrompts(path, { column: "body" })).rejects.toThrow(
      /p\.jsonl:1: expected an object whose "body" is a text or a list of messages; found keys text/,
    );
  });
});

describe("a .json file is", () => {
  test.each<[string, string, string[]]>([
    ["a list of rows", '[{"text": "a"}, {"text": "b"}]', ["a", "b"]],
    ["a list of texts", ' ["a", "b"]', ["a", "b"]],
    ["rows line by line, as many call it", '{"text": "a"}\n{"text": "b"}\n', ["a", "b"]],
  ])("%s", async (_rule, content, texts) => {
    expect((await read(await write("p.json", content))).map((prompt) => "text" in prompt && prompt.text)).toEqual(
      texts,
    );
  });
});

// Files by test/golden/make_parquet_golden.py.
describe("a .parquet file", () => {
  const file = (name: string) => join(GOLDEN_FOLDER, "parquet", name);
  const CAN_ZSTD = "zstdDecompressSync" in zlib;

  test.each(["none", "snappy", "gzip", "brotli", ...(CAN_ZSTD ? ["zstd"] : [])])(
    "gives its rows, compressed with %s, and passes over those without anything",
    async (codec) => {
      const prompts = await read(file(`${codec}.parquet`));
      const texts = [0, 1, 2, 3, 4].map((row) => `Row ${row}: naïve 😀 text`);
      expect(prompts.map((prompt) => "text" in prompt && prompt.text)).toEqual([...texts, ""]);
      expect(prompts[3]?.source).toBe(`${codec}.parquet:row 4`);
    },
  );

  test("compressed otherwise is refused, with what is read", async () => {
    await expect(readPrompts(file("lz4.parquet"))).rejects.toThrow(
      /row group 1: is compressed with LZ4_RAW; read are SNAPPY/,
    );
  });

  test("gives conversations with all that belongs to them", async () => {
    const [first, second] = await readPrompts(file("messages.parquet"));
    expect(first).toMatchObject({
      messages: [
        { role: "user", content: "Rain?" },
        { role: "assistant", content: null, tool_calls: [{ function: { name: "weather", arguments: "{}" } }] },
      ],
      tools: [{ type: "function" }],
    });
    expect(second).toMatchObject({ messages: [{ content: "Hi" }, { content: "Hello", tool_calls: [] }] });
  });

  test("without a known column names those that it has", async () => {
    await expect(readPrompts(file("none.parquet"), { column: "body" })).rejects.toThrow(
      /found id, text, bytes\. .*--data-column/,
    );
  });

  test("that is none, cut off or changed in any byte is an error of the prompts, or gives rows", async () => {
    const bytes = await readFile(file("messages.parquet"));
    const broken = [Buffer.from("PAR1"), Buffer.from("text"), bytes.subarray(0, 100), bytes.subarray(100)];
    const changed = Array.from({ length: bytes.length / 7 }, (_, at) => {
      const copy = Buffer.from(bytes);
      copy[7 * at] = (copy[7 * at] ?? 0) ^ 0xff;
      return copy;
    });
    const folder = await temporaryFolder();
    for (const content of [...broken, ...changed]) {
      await writeFile(join(folder, "p.parquet"), content);
      const found = await readPrompts(join(folder, "p.parquet")).catch((thrown: unknown) => thrown);
      if (!Array.isArray(found)) expect(found).toBeInstanceOf(PromptDataError);
    }
  });
});

test("a folder gives the prompts of its .txt, .jsonl, .json and .parquet files in the order of their names, and no others", async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "deeper"));
  const files = {
    "b.txt": "second",
    "a.jsonl": '{"text": "first"}',
    "c.json": '["third"]',
    "c.md": "no",
    "dataset_infos.json": "{}",
    "deeper/a.txt": "no",
    "d.TXT": "no",
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  expect((await read(folder)).map((prompt) => "text" in prompt && prompt.text)).toEqual(["first", "second", "third"]);
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
    ["a file of another kind", "p.csv", "x", ["p.csv", "expected a .txt, .jsonl, .json or .parquet file"]],
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
    await expect(readPrompts(await temporaryFolder())).rejects.toThrow(
      "the folder has no .txt, .jsonl, .json or .parquet file",
    );
  });

  test("one bad file among good ones", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "good.txt"), "x");
    await writeFile(join(folder, "bad.jsonl"), `${good}\n${good}\n!`);
    await expect(readPrompts(folder)).rejects.toThrow("bad.jsonl:3: not valid JSON");
  });
});
