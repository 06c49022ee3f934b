// Broken tokenizers, chat templates and prompts.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BrokenInput, CHECKPOINT_UNREADABLE, editJson, put, shown, WRONG_USAGE } from "./broken-checkpoints.js";
import type { TokenizerFile } from "./example-checkpoint.js";

const TOKENIZER = "tokenizer.json";

function editTokenizer(edit: (tokenizer: TokenizerFile) => void): BrokenInput["damage"] {
  return editJson<TokenizerFile>(TOKENIZER, edit);
}

function setId(token: string, id: unknown): BrokenInput["damage"] {
  return editTokenizer(({ model }) => Object.assign(model.vocab, { [token]: id }));
}

const TOKENIZERS: readonly [name: string, damage: BrokenInput["damage"], says: RegExp][] = [
  ["is not there", ({ model }) => rmSync(join(model, TOKENIZER)), /tokenizer\.json: not found/],
  ["is empty", put(TOKENIZER, ""), /tokenizer\.json: not valid JSON/],
  ["is not JSON", put(TOKENIZER, "#version: 0.2\nt h\ni n\n"), /tokenizer\.json: not valid JSON/],
  ["is a list", put(TOKENIZER, "[]"), /tokenizer\.json: expected a JSON object/],
  ["is an empty object", put(TOKENIZER, "{}"), /tokenizer\.json/],
  ["is not UTF-8", put(TOKENIZER, Buffer.from([0x7b, 0x80, 0x7d])), /tokenizer\.json: cannot be read/],
  [
    "is a Git LFS pointer",
    put(TOKENIZER, "version https://git-lfs.github.com/spec/v1\n"),
    /tokenizer\.json: not valid/,
  ],
  ["has no model", editTokenizer((json) => Object.assign(json, { model: undefined })), /tokenizer\.json/],
  ["has model null", editTokenizer((json) => Object.assign(json, { model: null })), /tokenizer\.json/],
  [
    "has a model of unknown type",
    editTokenizer(({ model }) => Object.assign(model, { type: "Morse", vocab: 1 })),
    /tokenizer\.json/,
  ],
  [
    "has a model without vocabulary",
    editTokenizer(({ model }) => Object.assign(model, { vocab: undefined })),
    /tokenizer\.json/,
  ],
  ["has BPE without merges", editTokenizer(({ model }) => Object.assign(model, { type: "BPE" })), /tokenizer\.json/],
  [
    "has an unknown normalizer",
    editTokenizer((json) => Object.assign(json, { normalizer: { type: "Rot13" } })),
    /tokenizer\.json/,
  ],
  [
    "has an unknown pre-tokenizer",
    editTokenizer((json) => Object.assign(json, { pre_tokenizer: { type: "X" } })),
    /tokenizer\.json/,
  ],
  [
    "has an unknown post-processor",
    editTokenizer((json) => Object.assign(json, { post_processor: { type: "X" } })),
    /tokenizer\.json/,
  ],
  [
    "has a regular expression that is none",
    editTokenizer((json) => {
      json.pre_tokenizer = { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated", invert: false };
    }),
    /tokenizer\.json/,
  ],
  [
    "has added_tokens that are no list",
    editTokenizer((json) => Object.assign(json, { added_tokens: 5 })),
    /tokenizer\.json/,
  ],
  ["gives an id beyond the vocabulary", setId("e", 128), /token id 128 .* vocab_size 128/],
  ["gives an id far beyond the vocabulary", setId("e", 1_000_000), /token id 1000000/],
  ["gives a negative id", setId("e", -1), /tokenizer\.json/],
  ["gives an id far below zero", setId("e", -1000), /tokenizer\.json/],
  ["gives a fraction as an id", setId("e", 1.5), /tokenizer\.json/],
  ["gives a string as an id", setId("e", "12"), /tokenizer\.json/],
  ["gives null as an id", setId("e", null), /tokenizer\.json/],
];

const TEMPLATES: readonly [name: string, template: string][] = [
  ["a loop that never ends", "{% for message in messages %}{{ message.content }}"],
  ["an unknown tag", "{% fold messages %}"],
  ["a broken expression", "{{ messages[ }}"],
  ["a broken expression over several lines", "{%- if\n\n messages == %}\n{{ 1 }}\n{% endif %}"],
];

/** Rows with messages that a template refuses when it runs. */
const REFUSING_TEMPLATES: readonly [name: string, template: string][] = [
  ["raises an exception", "{{ raise_exception('No\nthanks') }}"],
  ["calls what is no function", "{{ messages.content() }}"],
];

const PROMPT_LINES: readonly [line: unknown, says: RegExp][] = [
  [{}, /found keys none/],
  [{ txt: "a" }, /found keys txt/],
  [{ text: 5 }, /found keys text/],
  [{ text: null }, /found keys text/],
  [{ text: ["a"] }, /found keys text/],
  [{ messages: [] }, /found keys messages/],
  [{ messages: "hello" }, /found keys messages/],
  [{ messages: [{ role: "user" }] }, /found keys messages/],
  [{ messages: [{ content: "a" }] }, /found keys messages/],
  [{ messages: [{ role: 1, content: "a" }] }, /found keys messages/],
  [{ messages: [{ role: "user", content: [{ type: "image", image: "a.png" }] }] }, /image/],
  [{ prompt: "a" }, /found keys prompt/],
  [{ completion: "a" }, /found keys completion/],
  [{ prompt: "a", completion: 5 }, /found keys prompt, completion/],
  [{ prompt: "a", completion: [{ role: "user", content: "a" }] }, /found keys prompt, completion/],
  [null, /found null/],
  [[], /found \[\]/],
  ["text", /found "text"/],
  [5, /found 5/],
];

const PROMPT_FILES: readonly [name: string, file: string, content: string | Buffer, says: RegExp][] = [
  ["an empty .txt", "p.txt", "", /holds no prompt/],
  ["a .txt of blank lines", "p.txt", "\n \n\t\n\r\n", /holds no prompt/],
  ["an empty .jsonl", "p.jsonl", "", /holds no prompt/],
  ["a .jsonl of blank lines", "p.jsonl", "\n\n", /holds no prompt/],
  ["a .jsonl that is text", "p.jsonl", "hello\n", /p\.jsonl:1: not valid JSON/],
  ["a .jsonl that is cut off", "p.jsonl", '{"text": "a"}\n{"text": "b', /p\.jsonl:2: not valid JSON/],
  ["a .jsonl with two rows on a line", "p.jsonl", '{"text": "a"}{"text": "b"}', /p\.jsonl:1: not valid JSON/],
  ["a .jsonl that is pretty-printed JSON", "p.jsonl", '[\n  {"text": "a"}\n]\n', /p\.jsonl:1: not valid JSON/],
  ["a .txt that is not UTF-8", "p.txt", Buffer.from("caf\u00e9", "latin1"), /cannot be read as UTF-8 text/],
  ["a .jsonl that is not UTF-8", "p.jsonl", Buffer.from('{"text": "caf\u00e9"}', "latin1"), /cannot be read as UTF-8/],
  ["a .txt in UTF-16", "p.txt", Buffer.from("\ufeffhello", "utf16le"), /cannot be read as UTF-8 text/],
  ["a .csv", "p.csv", "text\nhello\n", /expected a \.txt, \.jsonl, \.json or \.parquet file/],
  ["a .parquet.gz", "p.parquet.gz", "x", /expected a \.txt, \.jsonl, \.json or \.parquet file/],
  ["a file without extension", "prompts", "hello\n", /expected a \.txt, \.jsonl, \.json or \.parquet file/],
];

export const BROKEN_TOKENIZERS: readonly BrokenInput[] = [
  ...TOKENIZERS.map(([name, damage, says]) => ({
    name: `tokenizer.json ${name}`,
    exitCode: CHECKPOINT_UNREADABLE,
    says,
    damage,
  })),
  ...["", "[]", "{", "null"].map((content) => ({
    name: `tokenizer_config.json is ${content === "" ? "empty" : content}`,
    exitCode: CHECKPOINT_UNREADABLE,
    says: /tokenizer_config\.json: /,
    damage: put("tokenizer_config.json", content),
  })),
  ...TEMPLATES.flatMap(([name, template]) => [
    {
      name: `chat_template.jinja has ${name}`,
      exitCode: CHECKPOINT_UNREADABLE,
      says: /the chat template cannot be parsed/,
      damage: put("chat_template.jinja", template),
    },
    {
      name: `the chat template of tokenizer_config.json has ${name}`,
      exitCode: CHECKPOINT_UNREADABLE,
      says: /the chat template cannot be parsed/,
      damage: put("tokenizer_config.json", JSON.stringify({ chat_template: [{ name: "default", template }] })),
    },
  ]),
  ...REFUSING_TEMPLATES.map(([name, template]) => ({
    name: `the chat template ${name}`,
    exitCode: WRONG_USAGE,
    says: /p\.jsonl:1: the checkpoint's chat template refuses these messages/,
    damage: both(
      put("chat_template.jinja", template),
      putPrompts("p.jsonl", JSON.stringify({ messages: [{ role: "user", content: "a" }] })),
    ),
    args: dataIs("p.jsonl"),
  })),
];

export const BROKEN_PROMPTS: readonly BrokenInput[] = [
  ...PROMPT_LINES.map(([line, says]) => ({
    name: `a prompt is ${shown(line)}`,
    exitCode: WRONG_USAGE,
    says: new RegExp(`p\\.jsonl:3: expected an object with "text".*${says.source}`),
    damage: putPrompts("p.jsonl", `{"text": "sound"}\n\n${JSON.stringify(line)}\n`),
    args: dataIs("p.jsonl"),
  })),
  ...PROMPT_FILES.map(([name, file, content, says]) => ({
    name: `--data is ${name}`,
    exitCode: WRONG_USAGE,
    says,
    damage: putPrompts(file, content),
    args: dataIs(file),
  })),
  {
    name: "--data is not there",
    exitCode: WRONG_USAGE,
    says: /cannot be opened/,
    damage: () => {},
    args: dataIs("nowhere.txt"),
  },
  {
    name: "--data is a folder without prompts",
    exitCode: WRONG_USAGE,
    says: /the folder has no \.txt, \.jsonl, \.json or \.parquet file/,
    damage: ({ root }) => mkdirSync(join(root, "empty")),
    args: dataIs("empty"),
  },
  {
    name: "--data is a folder with a folder called prompts.txt",
    exitCode: WRONG_USAGE,
    says: /cannot be read/,
    damage: ({ root }) => mkdirSync(join(root, "data/prompts.txt"), { recursive: true }),
    args: dataIs("data"),
  },
];

function putPrompts(name: string, content: string | Buffer): BrokenInput["damage"] {
  return ({ root }) => writeFileSync(join(root, name), content);
}

function dataIs(name: string): NonNullable<BrokenInput["args"]> {
  return ({ root }) => ["--data", join(root, name)];
}

function both(first: BrokenInput["damage"], second: BrokenInput["damage"]): BrokenInput["damage"] {
  return (example) => {
    first(example);
    second(example);
  };
}
