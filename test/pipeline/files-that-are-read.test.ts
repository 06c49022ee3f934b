// Every file that the program reads, against everything that can be wrong with a file as such: what stands in its place is
// no plain file, it is too large, its JSON nests deep, or is of another type than expected. Each is refused in a moment,
// with an error that names the file, and nothing is read that has no end.

import { mkdirSync, writeFileSync } from "node:fs";
import { rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readEndTokens } from "../../src/checkpoint/end-tokens.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { RefusalClass } from "../../src/checkpoint/plain-file.js";
import { readScales } from "../../src/checkpoint/read-scales.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { CheckpointError, KvScalesError, PromptDataError } from "../../src/errors.js";
import { inspect } from "../../src/pipeline/inspect.js";
import { readScaleRecord } from "../../src/pipeline/scale-record.js";
import { readPrompts } from "../../src/prompts/read-prompts.js";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { temporaryFolder } from "../helpers/golden-checkpoints.js";
import { ODD_FILES } from "../helpers/odd-files.js";
import { rawSafetensors, safetensorsOf, scale, weight, writeFiles } from "../helpers/safetensors-files.js";

interface ReadFile {
  readonly name: string;
  readonly read: (folder: string) => Promise<unknown>;
  readonly json?: boolean;
  readonly error?: RefusalClass;
}

/** Of a tokenizer that does nothing but look up tokens. */
const NO_STEPS = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };

const SHARD = "model-00001-of-00002.safetensors";

/** A sharded checkpoint with a tokenizer, all of it sound. */
async function soundFolder(): Promise<string> {
  const vocab = { a: 0, b: 1 };
  return writeFiles(await temporaryFolder(), {
    "config.json": "{}",
    "hf_quant_config.json": "{}",
    "model.safetensors.index.json": JSON.stringify({ weight_map: { a: SHARD, b: "model-00002-of-00002.safetensors" } }),
    [SHARD]: safetensorsOf([weight("a", 1)]),
    "model-00002-of-00002.safetensors": safetensorsOf([weight("b", 2)]),
    "tokenizer.json": JSON.stringify({ ...NO_STEPS, model: { type: "WordLevel", vocab, unk_token: "a" } }),
    "tokenizer_config.json": "{}",
    "chat_template.jinja": "{{ messages }}",
    "generation_config.json": "{}",
    "kv_scales.json": "{}",
    "prompts.jsonl": '{"text": "a"}',
    "data/prompts.txt": "a",
  });
}

const endTokensOf = (folder: string) =>
  readEndTokens({
    folder,
    files: new Map(),
    config: {},
    configText: "",
    shards: [],
    tensors: new Map(),
    modelOpt: undefined,
    index: undefined,
    warnings: [],
  });

const FILES: readonly ReadFile[] = [
  { name: "config.json", read: openCheckpoint, json: true },
  { name: "config.json", read: surveyCheckpoint, json: true },
  { name: "hf_quant_config.json", read: openCheckpoint, json: true },
  { name: "hf_quant_config.json", read: surveyCheckpoint, json: true },
  { name: "model.safetensors.index.json", read: openCheckpoint, json: true },
  { name: "model.safetensors.index.json", read: surveyCheckpoint, json: true },
  { name: SHARD, read: openCheckpoint },
  { name: SHARD, read: surveyCheckpoint },
  { name: "generation_config.json", read: endTokensOf, json: true },
  { name: "kv_scales.json", read: readScaleRecord, json: true },
  { name: "tokenizer.json", read: openTokenizer, json: true },
  { name: "tokenizer_config.json", read: openTokenizer, json: true },
  { name: "chat_template.jinja", read: openTokenizer },
  {
    name: "prompts.jsonl",
    read: (folder) => readPrompts(join(folder, "prompts.jsonl")),
    json: true,
    error: PromptDataError,
  },
  { name: "data/prompts.txt", read: (folder) => readPrompts(join(folder, "data/prompts.txt")), error: PromptDataError },
  { name: "data/prompts.txt", read: (folder) => readPrompts(join(folder, "data")), error: PromptDataError },
];

const TIME_LIMIT_MS = 2000;

/** Ten thousand in a second, which takes ten times as long one promise after the other. */
function writeEmptyFiles(folder: string, names: readonly string[]): void {
  for (const name of names) writeFileSync(join(folder, name), "");
}

/** The error of reading, which must come soon. */
async function refusalOf({ read, error = CheckpointError }: ReadFile, folder: string): Promise<KvScalesError> {
  const start = performance.now();
  const thrown: unknown = await read(folder).then(
    () => "nothing",
    (cause: unknown) => cause,
  );
  expect(thrown).toBeInstanceOf(error);
  expect(performance.now() - start).toBeLessThan(TIME_LIMIT_MS);
  return thrown as KvScalesError;
}

describe.each(FILES)("$name, read by $read.name", (file) => {
  test("is read when it is sound", async () => {
    await file.read(await soundFolder());
  });

  test.skipIf(process.platform === "win32").each(Object.entries(ODD_FILES))(
    "is refused when %s stands there",
    async (_kind, { make, called }) => {
      const folder = await soundFolder();
      await rm(join(folder, file.name));
      await make(join(folder, file.name));
      const { message } = await refusalOf(file, folder);
      expect(message).toMatch(called);
      expect(message).toContain(file.name);
    },
  );

  test("is refused when it is not UTF-8", async () => {
    const folder = await soundFolder();
    await writeFile(join(folder, file.name), Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]));
    expect((await refusalOf(file, folder)).message).toMatch(/UTF-8/);
  });

  if (file.json) {
    test.each([
      ["arrays", "[".repeat(1e5) + "]".repeat(1e5)],
      ["arrays without an end", "[".repeat(1e6)],
      ["objects", `${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}`],
      ["arrays in a key that nobody reads", `{"text":"a","x":${"[".repeat(200)}${"]".repeat(200)}}`],
    ])("is refused when its JSON nests deep: %s", async (_what, text) => {
      const folder = await soundFolder();
      await writeFile(join(folder, file.name), text);
      expect((await refusalOf(file, folder)).message).toMatch(/nests deeper than 128 levels/);
    });

    test("is refused when it has more values than any real one", async () => {
      if (file.error) return; // a line of prompts may not be so long
      const folder = await soundFolder();
      await writeFile(join(folder, file.name), `{"a":[${"0,".repeat(4_100_000)}0]}`);
      expect((await refusalOf(file, folder)).message).toMatch(/at most 4000000 (values|bytes)/);
    });

    test.each(["[]", '"text"', "5", "null", "{", "", "{}}"])(
      "is refused, or taken for none, when it is %s",
      async (text) => {
        const folder = await soundFolder();
        await writeFile(join(folder, file.name), text);
        const isNoRecord = file.name === "kv_scales.json" && !["{", "", "{}}"].includes(text);
        if (isNoRecord) expect(await file.read(folder)).toBeUndefined();
        else await refusalOf(file, folder);
      },
    );
  }
});

describe("a header", () => {
  const header = async (text: string | Uint8Array) => {
    const folder = await temporaryFolder();
    await writeFiles(folder, { "config.json": "{}", "model.safetensors": rawSafetensors(text, new Uint8Array(4)) });
    return refusalOf({ name: "model.safetensors", read: openCheckpoint }, folder);
  };

  test("of 90 MB of spaces is refused before it is read", async () => {
    const folder = await temporaryFolder();
    const bytes = rawSafetensors("{", new Uint8Array());
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(0, 90_000_000n, true);
    await writeFiles(folder, { "config.json": "{}", "model.safetensors": bytes });
    await truncate(join(folder, "model.safetensors"), 90_000_008);
    const { message } = await refusalOf({ name: "", read: openCheckpoint }, folder);
    expect(message).toMatch(/header claims 90000000 bytes; expected at most 50000000/);
  });

  test("of spaces within the limit is read in a moment", async () => {
    expect((await header(`{${" ".repeat(10_000_000)}}`)).message).toMatch(/belong to no tensor/);
  });

  test.each([
    ["a name without end", `{"${"w".repeat(2000)}":{}}`, /a name of at most 1024 characters, found 2000/],
    [
      "more dimensions than any tensor",
      `{"w":{"dtype":"F32","shape":[${"1,".repeat(99)}1],"data_offsets":[0,4]}}`,
      /at most 64 dimensions, found 100/,
    ],
    [
      "a size beyond any number",
      `{"w":{"dtype":"F32","shape":[${"9007199254740991,".repeat(40)}1],"data_offsets":[0,4]}}`,
      /needs too many bytes/,
    ],
    [
      "a dtype that is an object",
      '{"w":{"dtype":{"toString":1},"shape":[1],"data_offsets":[0,4]}}',
      /unknown dtype \{/,
    ],
  ])("with %s is refused", async (_what, text, says) => {
    expect((await header(text)).message).toMatch(says);
  });

  test("whose zero of elements stands beside sizes that overflow needs no bytes", async () => {
    const text = `{"w":{"dtype":"F32","shape":[${"9007199254740991,".repeat(40)}0],"data_offsets":[0,0]}}`;
    const folder = await temporaryFolder();
    await writeFiles(folder, { "config.json": "{}", "model.safetensors": rawSafetensors(text, new Uint8Array()) });
    expect((await openCheckpoint(folder)).tensors.get("w")?.byteLength).toBe(0);
  });
});

describe("what is too many is refused", () => {
  test("shards", async () => {
    const weightMap = Object.fromEntries(
      Array.from({ length: 10_001 }, (_, index) => [`t${index}`, `s${index}.safetensors`]),
    );
    const folder = await temporaryFolder();
    await writeFiles(folder, {
      "config.json": "{}",
      "model.safetensors.index.json": JSON.stringify({ weight_map: weightMap }),
    });
    writeEmptyFiles(folder, Object.values(weightMap));
    const { message } = await refusalOf({ name: "", read: openCheckpoint }, folder);
    expect(message).toMatch(/at most 10000 safetensors files, found 10001/);
  });

  test("tensors", async () => {
    const entries = Array.from(
      { length: 500_001 },
      (_, at) => `"${at}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`,
    );
    const folder = await temporaryFolder();
    await writeFiles(folder, { "config.json": "{}", "model.safetensors": rawSafetensors(`{${entries.join()}}`) });
    await expect(openCheckpoint(folder)).rejects.toThrow(/at most 500000 tensors/);
  });

  test("scales", async () => {
    const tensors = Array.from({ length: 10_001 }, (_, layer) => ({
      ...{ name: `model.layers.${layer}.self_attn.k_scale`, dtype: "F32", shape: [], offset: 0, byteLength: 0 },
    }));
    const reading = readScales([{ name: "x", path: "/x", header: { tensors } }]);
    await expect(reading).rejects.toThrow(/at most 10000 scales of the KV cache, found 10001/);
  });

  test("layers with attention, to inspect", async () => {
    const specs = Array.from({ length: 10_001 }, (_, layer) => ({
      ...{ name: `layers.${layer}.self_attn.k_proj.weight`, dtype: "U8", shape: [0], data: new Uint8Array() },
    }));
    const folder = await temporaryFolder();
    await writeFiles(folder, { "config.json": "{}", "model.safetensors": safetensorsOf(specs) });
    await expect(inspect({ model: folder })).rejects.toThrow(/at most 10000 layers with attention, found 10001/);
  });

  test("ten thousand layers with a scale each are inspected in seconds", async () => {
    const layers = Array.from({ length: 10_000 }, (_, layer) => `model.layers.${layer}.self_attn`);
    const specs = layers.flatMap((name) => [
      { name: `${name}.k_proj.weight`, dtype: "U8", shape: [0], data: new Uint8Array() },
      scale(`${name}.kv_scale`, 1),
    ]);
    const folder = await temporaryFolder();
    await writeFiles(folder, { "config.json": "{}", "model.safetensors": safetensorsOf(specs) });
    const start = performance.now();
    expect((await inspect({ model: folder })).layers).toHaveLength(10_000);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

describe("prompts", () => {
  const refusal = async (files: Record<string, string>) => {
    const folder = await writeFiles(join(await temporaryFolder(), "data"), files);
    return (await refusalOf({ name: "", read: readPrompts, error: PromptDataError }, folder)).message;
  };

  test("of a folder count together", async () => {
    const folder = await temporaryFolder();
    for (const name of ["a.txt", "b.txt"]) {
      await writeFile(join(folder, name), "x\n");
      if (name === "b.txt") await truncate(join(folder, name), 128 * 2 ** 20 - 1);
    }
    const { message } = await refusalOf({ name: "", read: readPrompts, error: PromptDataError }, folder);
    expect(message).toMatch(/at most 134217728 bytes of prompts, found more \(.*b\.txt has 134217727\)/);
  });

  test("have a longest line", async () => {
    expect(await refusal({ "a.txt": `x\n${"y".repeat(4_194_305)}\n` })).toMatch(
      /a\.txt:2: expected lines of at most 4194304 characters, found 4194305/,
    );
  });

  test("have a number of lines, blank ones too", async () => {
    expect(await refusal({ "a.txt": "x\n", "b.txt": "\n".repeat(2_000_000) })).toMatch(/at most 2000000 lines/);
  });

  test("have a number of files", async () => {
    const folder = join(await temporaryFolder(), "data");
    mkdirSync(folder);
    const names = Array.from({ length: 10_001 }, (_, index) => `${index}.txt`);
    writeEmptyFiles(folder, names);
    const { message } = await refusalOf({ name: "", read: readPrompts, error: PromptDataError }, folder);
    expect(message).toMatch(/at most 10000 files of prompts, found 10001/);
  });

  test.each([
    ["-", "prompts are not read from stdin"],
    ["/dev/stdin", "Save the prompts as a file"],
    ["/dev/zero", "found a device"],
  ])("are not read from %s", async (path, says) => {
    // What stdin is depends on who runs the tests: whatever it is, it is not waited for.
    const message = (await refusalOf({ name: "", read: () => readPrompts(path), error: PromptDataError }, "")).message;
    if (path !== "/dev/stdin") expect(message).toContain(says);
  });
});

describe("a tokenizer_config.json of odd types", () => {
  const odd = { toString: 1, valueOf: 1 };
  test.each([
    ["chat_template", odd],
    ["chat_template", 5],
    ["chat_template", [null]],
    ["chat_template", [[]]],
    ["chat_template", [{ name: "default", template: odd }]],
    ["chat_template", [{ name: odd }]],
  ])("is refused: %s is %j", async (key, value) => {
    const folder = await soundFolder();
    await rm(join(folder, "chat_template.jinja"));
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify({ [key]: value }));
    const { message } = await refusalOf({ name: "", read: openTokenizer }, folder);
    expect(message).toMatch(/tokenizer_config\.json: chat_template: expected a template or a list/);
  });

  test("of which nothing is needed is read", async () => {
    const folder = await soundFolder();
    const tokens = { bos_token: odd, eos_token: null, pad_token: [], unk_token: { content: odd }, cls_token: 5 };
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(tokens));
    await openTokenizer(folder);
  });
});

describe("a tokenizer.json with an object that says how long it is", () => {
  const endless = { length: 4294967295 };
  const token = { id: 0, special: true, lstrip: false, rstrip: false, single_word: false, normalized: false };
  test.each([
    [
      "for a token's text",
      { added_tokens: [{ ...token, content: endless }] },
      /tokenizer\.json: content: expected a list/,
    ],
    ["for a list of steps", { normalizer: { type: "Sequence", normalizers: endless } }, /normalizers: expected a list/],
  ])("%s is refused: counting up to it would take minutes", async (_what, changed, says) => {
    const folder = await soundFolder();
    const model = { type: "WordLevel", vocab: { a: 0 }, unk_token: "a" };
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ ...NO_STEPS, model, ...changed }));
    expect((await refusalOf({ name: "", read: openTokenizer }, folder)).message).toMatch(says);
  });

  test("is read when that is a token of its vocabulary", async () => {
    const folder = await soundFolder();
    const model = { type: "WordLevel", vocab: { a: 0, length: 1 }, unk_token: "a" };
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ ...NO_STEPS, model }));
    await openTokenizer(folder);
  });
});

test("every error of these tests is one that the command line knows", () => {
  for (const known of [CheckpointError, PromptDataError]) expect(known.prototype).toBeInstanceOf(KvScalesError);
});
