// Messages become text as the checkpoint's own template has it, and ids without a special token too many or too few.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CheckpointError, PromptDataError } from "../../src/errors.js";
import { findChatTemplates, parseChatTemplates, renderTranscript } from "../../src/prompts/chat-template.js";
import type { Message } from "../../src/prompts/prompt-rows.js";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { type Json, temporaryFolder } from "../helpers/golden-checkpoints.js";
import { encodeWith } from "../helpers/local-tokenizer.js";

const SYSTEM: Message = { role: "system", content: "Be brief." };
const USER: Message = { role: "user", content: "Hello" };
const ASSISTANT: Message = { role: "assistant", content: "Hi" };
const PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";

interface Files {
  readonly jinja?: string;
  readonly config?: Json;
  /** `chat_template` in chat_template.json and in processor_config.json, of processors. */
  readonly old?: unknown;
  readonly processor?: unknown;
}

async function open({ jinja, config = {}, old, processor }: Files) {
  const folder = await temporaryFolder();
  const write = (name: string, template: unknown) =>
    template === undefined ? undefined : writeFile(join(folder, name), JSON.stringify({ chat_template: template }));
  await write("chat_template.json", old);
  await write("processor_config.json", processor);
  if (jinja !== undefined) await writeFile(join(folder, "chat_template.jinja"), jinja);
  const templates = await findChatTemplates(folder, config);
  return templates.size === 0 ? undefined : parseChatTemplates(templates, config);
}

async function render(files: Files, messages: readonly Message[]): Promise<string | undefined> {
  return (await open(files))?.({ messages }, "p.jsonl:1");
}

describe("the template is", () => {
  test.each<[string, Files, string | undefined]>([
    ["chat_template.jinja", { jinja: PLAIN }, "<user>Hello"],
    ["chat_template of tokenizer_config.json", { config: { chat_template: PLAIN } }, "<user>Hello"],
    ["the file when there are both", { jinja: PLAIN, config: { chat_template: "config" } }, "<user>Hello"],
    [
      "the one named default",
      {
        config: {
          chat_template: [
            { name: "rag", template: "rag" },
            { name: "default", template: PLAIN },
          ],
        },
      },
      "<user>Hello",
    ],
    [
      "chat_template of chat_template.json, before the tokenizer's",
      { old: PLAIN, config: { chat_template: "x" } },
      "<user>Hello",
    ],
    ["chat_template.jinja before that", { jinja: PLAIN, old: "x" }, "<user>Hello"],
    [
      "the tokenizer's where chat_template.json has none",
      { old: null, config: { chat_template: PLAIN } },
      "<user>Hello",
    ],
    ["chat_template of processor_config.json, where nothing else is", { processor: PLAIN }, "<user>Hello"],
    ["absent where a processor has none", { processor: null }, undefined],
    ["absent for a base model", {}, undefined],
    ["absent when it is null", { config: { chat_template: null } }, undefined],
    ["absent when the list is empty", { config: { chat_template: [] } }, undefined],
  ])("%s", async (_rule, files, expected) => {
    expect(await render(files, [USER])).toBe(expected);
  });

  test("an error of the checkpoint when it cannot be parsed", async () => {
    const opening = open({ jinja: "{% for m in %}" });
    await expect(opening).rejects.toBeInstanceOf(CheckpointError);
    await expect(open({ jinja: "{% for m in %}" })).rejects.toThrow("chat template cannot be parsed");
  });
});

describe("a text is one part to a template that only goes through parts", () => {
  const parts =
    "{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% else %}<image>{% endif %}{% endfor %}";
  const chosen = "{% for p in m.content | selectattr('type', 'equalto', 'text') %}{{ p.text }}{% endfor %}";
  const each = (content: string) => `{% for m in messages %}<{{ m.role }}>${content}{% endfor %}`;
  test.each<[string, string]>([
    ["in a loop", each(parts)],
    ["in a loop over some of them", each(chosen)],
    [
      "if it asks whether the content is text",
      each(`{% if m['content'] is string %}{{ m['content'] }}{% else %}${parts}{% endif %}`),
    ],
    [
      "if it asks whether it is not",
      each(`{% if m.content is not string %}${parts}{% else %}{{ m.content }}{% endif %}`),
    ],
  ])("%s", async (_where, jinja) => {
    expect(await render({ jinja }, [SYSTEM, USER])).toBe("<system>Be brief.<user>Hello");
    const asParts: Message = {
      role: "user",
      content: [
        { type: "text", text: "Hel" },
        { type: "text", text: "lo" },
      ],
    };
    expect(await render({ jinja }, [asParts])).toBe("<user>Hello");
  });
});

describe("a template sees", () => {
  const tokens = {
    bos_token: "<s>",
    eos_token: { content: "</s>", lstrip: false },
    pad_token: null,
    add_bos_token: true,
  };
  test.each([
    ["special tokens given as text", "{{ bos_token }}", "<s>"],
    ["special tokens given as objects", "{{ eos_token }}", "</s>"],
    ["nothing for a token that is null", "[{{ pad_token }}]", "[]"],
    ["no keys of tokenizer_config.json that are no tokens", "{{ add_bos_token is defined }}", "false"],
    ["that no answer is asked for", "{{ add_generation_prompt }}", "false"],
    ["its blocks trimmed, as transformers does", "{% if true %}\nx\n{% endif %}\ny", "x\ny"],
  ])("%s", async (_rule, jinja, expected) => {
    expect((await render({ jinja, config: tokens }, [USER]))?.toLowerCase()).toBe(expected);
  });
});

describe("named templates", () => {
  const named = (...names: string[]) => ({ chat_template: names.map((name) => ({ name, template: name })) });
  const tools = [{ type: "function", function: { name: "f" } }];

  test("without a default render nothing: the error names them", async () => {
    const rendered = await open({ config: named("rag", "tool_use") });
    expect(rendered?.({ messages: [USER], tools }, "p")).toBe("tool_use");
    expect(() => rendered?.({ messages: [USER] }, "p")).toThrow(
      /tokenizer_config\.json: has the chat templates rag, tool_use, and none is called "default"/,
    );
  });

  test("with tools it is the one for tools, if there is one", async () => {
    const rendered = await open({ config: named("default", "tool_use") });
    expect(rendered?.({ messages: [USER], tools }, "p")).toBe("tool_use");
    expect(rendered?.({ messages: [USER] }, "p")).toBe("default");
    expect((await open({ config: named("default") }))?.({ messages: [USER], tools }, "p")).toBe("default");
  });

  test("are the files of additional_chat_templates, too, which count before tokenizer_config.json", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "additional_chat_templates"));
    await writeFile(join(folder, "additional_chat_templates/tool_use.jinja"), "file");
    const templates = await findChatTemplates(folder, named("default"));
    expect([...templates.keys()]).toEqual(["tool_use"]);
    await writeFile(join(folder, "chat_template.jinja"), "single");
    expect([...(await findChatTemplates(folder, {})).keys()]).toEqual(["default", "tool_use"]);
  });
});

describe("content as parts", () => {
  const parts: Message = {
    role: "user",
    content: [
      { type: "text", text: "a" },
      { type: "text", text: "b" },
    ],
  };

  test("is one text for a template that knows texts alone, line by line as in vLLM", async () => {
    expect(await render({ jinja: PLAIN }, [parts])).toBe("<user>a\nb");
    expect(renderTranscript({ messages: [parts] }, "")).toBe("User: a\nb");
  });

  test("stays as it is for a template that goes through them", async () => {
    const jinja = "{% for m in messages %}{% for part in m['content'] %}[{{ part.text }}]{% endfor %}{% endfor %}";
    expect(await render({ jinja }, [parts])).toBe("[a][b]");
  });
});

test("a base model gets calls of tools as JSON", () => {
  const call = { type: "function", function: { name: "f", arguments: "{}" } };
  const messages = [{ role: "assistant", content: null, tool_calls: [call] }];
  expect(renderTranscript({ messages }, "")).toBe(`Assistant: ${JSON.stringify(call)}`);
});

describe("a template that refuses the system role", () => {
  const refuses = `{% for m in messages %}{% if m.role == "system" %}{{ raise_exception("no system role") }}{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}`;
  test("gets its text in front of the first user message", async () => {
    const text = await render({ jinja: refuses }, [SYSTEM, USER, ASSISTANT]);
    expect(text).toBe("<user>Be brief.\n\nHello<assistant>Hi");
  });

  test.each<[string, string, Message[]]>([
    ["no system message to merge", `{{ raise_exception("roles must alternate") }}`, [USER, USER]],
    ["nothing to merge it into", refuses, [SYSTEM]],
    ["another reason", `{{ raise_exception("roles must alternate") }}`, [SYSTEM, USER]],
  ])("is an error of the prompts that names the line when there is %s", async (_rule, jinja, messages) => {
    const error = await render({ jinja }, messages).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PromptDataError);
    expect(error).toHaveProperty("message", expect.stringMatching(/^p\.jsonl:1: .*(alternate|no system role)/));
  });

  test("and one that takes it gets it as it is", async () => {
    expect(await render({ jinja: PLAIN }, [SYSTEM, USER])).toBe("<system>Be brief.<user>Hello");
  });
});

test("a base model gets a transcript", () => {
  expect(renderTranscript({ messages: [SYSTEM, USER, ASSISTANT] }, "")).toBe(
    "System: Be brief.\n\nUser: Hello\n\nAssistant: Hi",
  );
  expect(renderTranscript({ messages: [{ role: "", content: "x" }] }, "")).toBe(": x");
});

describe("the first special token is there once", () => {
  // A vocabulary of whole words, and a post-processor that puts <s> in front, as Llama's has it.
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [
      { id: 0, content: "<s>", special: true, single_word: false, lstrip: false, rstrip: false, normalized: false },
    ],
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
    },
    decoder: null,
    model: { type: "WordLevel", vocab: { "<s>": 0, "<unk>": 1, Hello: 2, "User:": 3 }, unk_token: "<unk>" },
  };
  const openWith = async (config: Json | undefined) => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
    if (config) await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));
    return openTokenizer(folder);
  };
  const chat = { source: "", messages: [USER] };

  test.each([
    ["a text gets it from the tokenizer", {}, { source: "", text: "Hello" }, "Hello", [0, 2]],
    [
      "a template that writes it does not get it again",
      { bos_token: "<s>", chat_template: "{{ bos_token }} {{ messages[0].content }}" },
      chat,
      "<s> Hello",
      [0, 2],
    ],
    [
      "a template that does not write it goes without",
      { chat_template: "{{ messages[0].content }}" },
      chat,
      "Hello",
      [2],
    ],
    ["a transcript gets it from the tokenizer", undefined, chat, "User: Hello", [0, 3, 2]],
  ])("%s", async (_rule, config, prompt, text, ids) => {
    const opened = await openWith(config);
    expect(encodeWith(opened, prompt)).toEqual({ text, ids });
    expect(opened.templatePath !== undefined).toBe(config !== undefined && "chat_template" in config);
  });

  test.each<[string, string | undefined, string]>([
    ["is absent", undefined, "tokenizer.json: not found"],
    ["is no JSON", "{", "tokenizer.json: not valid JSON"],
    ["has no model", "{}", "tokenizer.json: the tokenizer is damaged or not supported"],
    ["has a model of an unknown type", JSON.stringify({ ...tokenizer, model: { type: "Mystery" } }), "not supported"],
  ])("a tokenizer.json that %s is an error of the checkpoint", async (_rule, content, message) => {
    const folder = await temporaryFolder();
    if (content !== undefined) await writeFile(join(folder, "tokenizer.json"), content);
    const error = await openTokenizer(folder).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toHaveProperty("message", expect.stringContaining(message));
  });
});

describe("an answer is opened", () => {
  const messages = [USER, ASSISTANT, USER];

  test("by the template's own generation prompt, and only when asked for", async () => {
    const jinja = `${PLAIN}{% if add_generation_prompt %}<assistant>{% endif %}`;
    const rendered = await open({ jinja });
    expect(rendered?.({ messages }, "p", true)).toBe("<user>Hello<assistant>Hi<user>Hello<assistant>");
    expect(rendered?.({ messages }, "p")).toBe("<user>Hello<assistant>Hi<user>Hello");
  });

  test("in a transcript by the name of who speaks next", () => {
    expect(renderTranscript({ messages: [USER] }, "p", true)).toBe("User: Hello\n\nAssistant:");
    expect(renderTranscript({ messages: [USER] }, "p")).toBe("User: Hello");
  });

  test("also where the system's message had to be merged", async () => {
    const jinja =
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}";
    expect((await open({ jinja }))?.({ messages: [SYSTEM, USER] }, "p", true)).toBe("[Be brief.\n\nHello]>");
  });
});
