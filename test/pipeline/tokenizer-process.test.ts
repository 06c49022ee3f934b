// What a checkpoint's tokenizer and chat template do has limits of time and memory. The process is the built program's,
// with limits that a test can wait for.

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { EMBEDDED_EXAMPLE } from "../../src/pipeline/run-options.js";
import type * as TokenizerProcessModule from "../../src/pipeline/tokenizer-process.js";
import type { EncodedPrompt, TokenizerProcess } from "../../src/pipeline/tokenizer-process.js";
import type { Prompt } from "../../src/prompts/prompt-rows.js";
import { readPrompts, SHIPPED_PROMPTS } from "../../src/prompts/read-prompts.js";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { HOSTILE_DECODER, HOSTILE_TEMPLATES, HOSTILE_TOKENIZERS } from "../helpers/hostile-checkpoints.js";
import { encodeWith } from "../helpers/local-tokenizer.js";
import { REPOSITORY } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

const built = pathToFileURL(join(REPOSITORY, "dist/pipeline/tokenizer-process.js")).href;
const { startTokenizerProcess, TOKENIZER_LIMITS } = (await import(built)) as typeof TokenizerProcessModule;

const LIMITS = { openSeconds: 60, promptSeconds: 0.5, heapBytes: 2 ** 27 };
/** Starting the process on a busy machine, its limit, and ending it. */
const END_MS = 90_000;

const TEXT: Prompt = { source: "p.txt:7", text: `${"a".repeat(60)}!` };
const CHAT: Prompt = { source: "p.jsonl:7", messages: [{ role: "user", content: "x" }] };
const WHOLE = { opensAnswer: false, maxTokens: Number.POSITIVE_INFINITY };

/** The example's tokenizer with other parts, or another template. */
function tokenizerFolder(change: Readonly<Record<string, unknown>>, template?: string): string {
  const folder = temporaryFolder();
  const json: unknown = JSON.parse(readFileSync(join(EMBEDDED_EXAMPLE, "tokenizer.json"), "utf8"));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(Object.assign({}, json, change)));
  copyFileSync(join(EMBEDDED_EXAMPLE, "tokenizer_config.json"), join(folder, "tokenizer_config.json"));
  if (template !== undefined) writeFileSync(join(folder, "chat_template.jinja"), template);
  return folder;
}

function start(folder: string, options: { signal?: AbortSignal; limits?: typeof LIMITS } = {}): TokenizerProcess {
  const tokenizer = startTokenizerProcess({ folder, limits: LIMITS, ...options });
  onTestFinished(() => tokenizer.stop());
  return tokenizer;
}

async function encodeOne(tokenizer: TokenizerProcess, prompt: Prompt): Promise<EncodedPrompt[]> {
  const encoded: EncodedPrompt[] = [];
  await tokenizer.encode([prompt], WHOLE, (one) => encoded.push(one));
  return encoded;
}

async function expectRefusal(work: Promise<unknown>, file: string, says: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(String(error)).toMatch(says);
  expect(error).toMatchObject({ name: "CheckpointError", exitCode: 3 });
  expect(error).toHaveProperty("message", expect.stringContaining(`${file}: `));
}

describe("a chat template is stopped that is", () => {
  test.each(HOSTILE_TEMPLATES)(
    "$name",
    async ({ template, says }) => {
      const folder = tokenizerFolder({}, template);
      await expectRefusal(encodeOne(start(folder), CHAT), join(folder, "chat_template.jinja"), says);
    },
    END_MS,
  );
});

describe("a tokenizer is stopped that has", () => {
  test.each(HOSTILE_TOKENIZERS)(
    "$name",
    async ({ change, says }) => {
      const folder = tokenizerFolder(change);
      await expectRefusal(encodeOne(start(folder), TEXT), join(folder, "tokenizer.json"), says);
    },
    END_MS,
  );

  test(
    HOSTILE_DECODER.name,
    async () => {
      const folder = tokenizerFolder(HOSTILE_DECODER.change);
      const { ids } = encodeWith(await openTokenizer(EMBEDDED_EXAMPLE), TEXT);
      const decoding = start(folder).decode([ids]);
      await expectRefusal(decoding, join(folder, "tokenizer.json"), HOSTILE_DECODER.says);
    },
    END_MS,
  );
});

test("the error names the prompt that it was at, and says what to do", async () => {
  const folder = tokenizerFolder(
    {},
    "{% if messages|length > 1 %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{% endif %}x",
  );
  const tokenizer = start(folder);
  const slow: Prompt = { source: "p.jsonl:8", messages: [...CHAT.messages, ...CHAT.messages] };
  const sources: string[] = [];
  const work = tokenizer.encode([CHAT, TEXT, slow, CHAT], WHOLE, (_, { source }) => sources.push(source));
  await expect(work).rejects.toThrow(/rendering p\.jsonl:8 .*than the limit of .* give shorter prompts\.$/);
  expect(sources).toEqual([CHAT.source, TEXT.source]);
});

test("an interrupt ends it in the midst of a pattern", async () => {
  const interrupt = new AbortController();
  const folder = tokenizerFolder({}, HOSTILE_TEMPLATES[0]?.template);
  const tokenizer = start(folder, { signal: interrupt.signal, limits: TOKENIZER_LIMITS });
  await tokenizer.open();
  const work = encodeOne(tokenizer, CHAT);
  setTimeout(() => interrupt.abort(), 100);
  const begin = performance.now();
  await expect(work).rejects.toHaveProperty("name", "InterruptedError");
  expect(performance.now() - begin).toBeLessThan(2000);
});

describe("what is sound comes through whole", () => {
  test("the shipped prompts: texts and ids are those of the same tokenizer here", async () => {
    const prompts = await readPrompts(SHIPPED_PROMPTS);
    const here = await openTokenizer(EMBEDDED_EXAMPLE);
    const found: unknown[] = [];
    const tokenizer = start(EMBEDDED_EXAMPLE, { limits: TOKENIZER_LIMITS });
    await tokenizer.encode(prompts, { ...WHOLE, opensAnswer: true }, ({ text, ids, length }, { source }) =>
      found.push({ source, text, ids, length }),
    );
    expect(found).toEqual(
      prompts.map((prompt) => {
        const { text, ids } = encodeWith(here, prompt, true);
        return { source: prompt.source, text, ids, length: ids.length };
      }),
    );
  });

  test("a prompt of 100,000 tokens, within the limit of time", async () => {
    const text = "The quick brown fox. ".repeat(13_000);
    const tokenizer = start(EMBEDDED_EXAMPLE, { limits: TOKENIZER_LIMITS });
    const [encoded] = await encodeOne(tokenizer, { source: "", text });
    expect(encoded?.length).toBeGreaterThan(100_000);
    expect(encoded?.ids).toHaveLength(encoded?.length ?? 0);
  });

  test("of a long one no more ids than asked for, and what the others were", async () => {
    const tokenizer = start(EMBEDDED_EXAMPLE, { limits: TOKENIZER_LIMITS });
    const encoded: EncodedPrompt[] = [];
    await tokenizer.encode([TEXT], { opensAnswer: false, maxTokens: 2 }, (one) => encoded.push(one));
    const { ids } = encodeWith(await openTokenizer(EMBEDDED_EXAMPLE), TEXT);
    expect(encoded).toEqual([
      { text: "text" in TEXT ? TEXT.text : "", ids: ids.slice(0, 2), length: ids.length, largestId: Math.max(...ids) },
    ]);
  });
});
