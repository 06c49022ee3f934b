// What is fuzzed: each reader of the program with files of its kind, sound ones to start from, and what is done with what it
// reads. The readers are the program's own, on files as it finds them.

import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { patchConfigText } from "../../src/checkpoint/config-text.js";
import { readEndTokens } from "../../src/checkpoint/end-tokens.js";
import { ENGINES } from "../../src/checkpoint/engine-rules.js";
import { parseJsonObject } from "../../src/checkpoint/json-text.js";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { OUTPUT_FORMATS, type OutputFormat } from "../../src/checkpoint/output-formats.js";
import { layOutCheckpoint } from "../../src/checkpoint/output-layout.js";
import { readScales, scalesAsRead } from "../../src/checkpoint/read-scales.js";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import { gatherScaleFacts, scaleDtype } from "../../src/checkpoint/scale-facts.js";
import { findScaleProblems } from "../../src/checkpoint/scale-problems.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { KvScalesError } from "../../src/errors.js";
import { scalesFromRecord } from "../../src/pipeline/converted-scales.js";
import { diff } from "../../src/pipeline/diff.js";
import { inspect } from "../../src/pipeline/inspect.js";
import { convertedRecord, readScaleRecord } from "../../src/pipeline/scale-record.js";
import { readPrompts } from "../../src/prompts/read-prompts.js";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { mutateJson, mutateText } from "./mutate-json.js";
import { mutateSafetensors, type SparseFile } from "./mutate-safetensors.js";
import type { Random } from "./random.js";

/** What a target reads. @param seed which of its seeds the case was made from */
export type FuzzCase = { readonly seed: number } & ({ readonly text: string } | { readonly file: SparseFile });

export interface Target {
  /** Of a thousand cases. */
  readonly share: number;
  readonly seeds: readonly string[];
  readonly mutate: (random: Random, seed: string) => Omit<FuzzCase & { text: string }, "seed"> | { file: SparseFile };
  readonly run: (input: FuzzCase) => Promise<unknown>;
}

const FIRST = "model-00001-of-00002.safetensors";
const SECOND = "model-00002-of-00002.safetensors";
const ATTENTIONS = ["model.layers.0.self_attn", "model.layers.1.self_attn"];

const PLACES = ATTENTIONS.map((name, layer) => ({ layer, name }));
const NAMES = new Map(ATTENTIONS.map((name, layer) => [layer, [name] as const]));

const json = (random: Random, seed: string) => ({ text: mutateJson(random, seed) });

/** The targets by name. @param repository its root. @param folder an empty one that they may write to */
export async function makeTargets(repository: string, folder: string): Promise<Readonly<Record<string, Target>>> {
  const goldens = await openGoldens(repository);
  const inFolder = (name: string, files: Readonly<Record<string, string | Uint8Array>>) => {
    mkdirSync(join(folder, name), { recursive: true });
    for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, name, file), content);
    return join(folder, name);
  };
  const header = inFolder("header", {});
  const index = inFolder("index", shardedCheckpoint());
  const scales = inFolder("scales", { "config.json": '{"model_type":"llama"}' });
  const quantization = inFolder("quantization", shardedCheckpoint());
  const record = inFolder("record", shardedCheckpoint());
  const prompts = inFolder("prompts", {});
  const tokenizer = inFolder("tokenizer", { "tokenizer.json": TOKENIZER });
  const broken = inFolder("tokenizer-json", {});
  const survey = await surveyCheckpoint(quantization);
  const scaleTensors = await readScales(survey.files);
  const put = (path: string, input: FuzzCase) => {
    if ("text" in input) return writeFileSync(path, input.text);
    writeFileSync(path, input.file.start);
    truncateSync(path, input.file.size);
  };
  return {
    header: {
      share: 150,
      seeds: goldens.map(({ headerText }) => headerText),
      mutate: (random, seed) => ({ file: mutateSafetensors(random, seed, dataBytesOf(seed)) }),
      async run(input) {
        const path = join(header, "model.safetensors");
        put(path, asFile(input));
        const read = await readSafetensorsHeader(path);
        const total = read.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
        if (!(total <= read.fileBytes)) throw new Error(`the tensors have ${total} bytes, the file ${read.fileBytes}`);
      },
    },
    index: {
      share: 40,
      seeds: [indexText()],
      mutate: json,
      async run(input) {
        put(join(index, "model.safetensors.index.json"), input);
        await surveyCheckpoint(index);
        layOutCheckpoint(await openCheckpoint(index), []);
      },
    },
    scales: {
      share: 40,
      seeds: [
        scalesHeader("k_scale", "v_scale"),
        scalesHeader("kv_scale"),
        scalesHeader("k_proj.k_scale", "k_cache.scale"),
      ],
      mutate: (random, seed) => ({ file: mutateSafetensors(random, seed, dataBytesOf(seed)) }),
      async run(input) {
        put(join(scales, "model.safetensors"), asFile(input));
        const readers = [
          () => inspect({ model: scales }),
          () => diff({ a: scales, b: quantization }),
          async () => scalesAsRead(await openCheckpoint(scales), PLACES),
        ];
        const ends = await Promise.allSettled(readers.map((read) => read()));
        const reasons = ends.flatMap((end): unknown[] => (end.status === "rejected" ? [end.reason] : []));
        const worst = reasons.find((reason) => !(reason instanceof KvScalesError)) ?? reasons[0];
        if (worst !== undefined) throw worst;
      },
    },
    config: {
      share: 400,
      seeds: goldens.map(({ configText }) => configText),
      mutate: json,
      async run(input) {
        if (!("text" in input)) return;
        const { tensors, packed } = goldens[input.seed] ?? goldens[0];
        const config = parseJsonObject("config.json", input.text);
        const found = input.text.length % 8 === 0 ? packed : tensors;
        describeModelEnd(found, describeModel(config, found));
      },
    },
    quantization: {
      share: 150,
      seeds: QUANTIZATIONS.map((block) => JSON.stringify({ model_type: "llama", num_key_value_heads: 2, ...block })),
      mutate: json,
      async run(input) {
        if (!("text" in input)) return;
        const config = parseJsonObject("config.json", input.text);
        const facts = await gatherScaleFacts({ ...survey, config });
        findScaleProblems(facts);
        for (const { judge } of Object.values(ENGINES)) judge(facts);
        const dtype = attempt(() => scaleDtype(config));
        const formats: readonly OutputFormat[] = Object.values(OUTPUT_FORMATS);
        const format = formats[input.text.length % formats.length];
        const keys = format?.config(dtype ?? "float8_e4m3fn") ?? {};
        attempt(() => JSON.parse(patchConfigText(input.text, config, keys)));
      },
    },
    record: {
      share: 80,
      seeds: [RECORD],
      mutate: json,
      async run(input) {
        put(join(record, "kv_scales.json"), input);
        const read = await readScaleRecord(record);
        const converted = read && scalesFromRecord(read, scaleTensors, [0, 1], "float8_e4m3fn", "float8_e4m3fnuz");
        convertedRecord(read, { format: "vllm", dtype: "float8_e4m3fn" }, converted ?? [], NAMES);
      },
    },
    prompts: {
      share: 100,
      seeds: PROMPTS,
      mutate(random, seed) {
        const lines = seed.split("\n").map((line) => (random.chance(0.5) ? mutateLine(random, line) : line));
        return {
          text: random.chance(0.1) ? mutateText(random, lines.join("\n")) : lines.join(random.pick(["\n", "\r\n"])),
        };
      },
      async run(input) {
        const path = join(prompts, input.seed % 2 === 0 ? "p.jsonl" : "p.txt");
        put(path, input);
        await readPrompts(path);
      },
    },
    "tokenizer-config": {
      share: 25,
      seeds: TOKENIZER_CONFIGS,
      mutate: json,
      async run(input) {
        put(join(tokenizer, "tokenizer_config.json"), input);
        put(join(tokenizer, "generation_config.json"), input);
        await openTokenizer(tokenizer);
        await readEndTokens({ ...goldens[0].checkpoint, folder: tokenizer });
      },
    },
    tokenizer: {
      share: 15,
      seeds: [TOKENIZER],
      mutate: json,
      async run(input) {
        put(join(broken, "tokenizer.json"), input);
        await openTokenizer(broken);
      },
    },
  };
}

/** Errors that are for the reader are let through by whoever runs a case; here, what comes after them shall run, too. */
function attempt<Result>(act: () => Result): Result | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof KvScalesError) return undefined;
    throw error;
  }
}

function mutateLine(random: Random, line: string): string {
  return line.startsWith("{") ? mutateJson(random, line).replaceAll("\n", "") : mutateText(random, line);
}

/** A corpus keeps headers as text: the file they are the header of. */
function asFile(input: FuzzCase): FuzzCase {
  if ("file" in input) return input;
  const start = safetensors(input.text, 0);
  return { seed: input.seed, file: { start, size: start.length + dataBytesOf(input.text) } };
}

interface Golden {
  readonly headerText: string;
  readonly configText: string;
  readonly checkpoint: Checkpoint;
  readonly tensors: Checkpoint["tensors"];
  /** The same with a tensor of quantized weights. */
  readonly packed: Checkpoint["tensors"];
}

/** A checkpoint of every family, each with both dialects of config.json. */
async function openGoldens(repository: string): Promise<readonly [Golden, ...Golden[]]> {
  const root = join(repository, "test/golden/checkpoints");
  const opened: Golden[] = [];
  for (const name of readdirSync(root).filter((folder) =>
    readdirSync(join(root, folder)).includes("model.safetensors"),
  )) {
    const checkpoint = await openCheckpoint(join(root, name));
    const bytes = readFileSync(join(root, name, "model.safetensors"));
    const headerText = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString();
    for (const dialect of readdirSync(join(root, name)).filter((file) => /^config\.(v4\.)?json$/.test(file))) {
      const configText = readFileSync(join(root, name, dialect), "utf8");
      const { tensors } = checkpoint;
      opened.push({ headerText, configText, checkpoint, tensors, packed: withPackedTensor(tensors) });
    }
  }
  const [first, ...others] = opened;
  if (first === undefined) throw new Error(`${root}: no golden checkpoint`);
  return [first, ...others];
}

function withPackedTensor(tensors: Checkpoint["tensors"]): Checkpoint["tensors"] {
  const [first] = tensors;
  return first === undefined ? tensors : new Map([...tensors, ["model.layers.0.mlp.up_proj.qweight", first[1]]]);
}

/** Where the data of a header ends, as far as it says so. */
function dataBytesOf(header: string): number {
  const ends = [...header.matchAll(/"data_offsets":\s*\[\d+,\s*(\d+)\]/g)].map(([, end]) => Number(end));
  return Math.max(0, ...ends);
}

function safetensors(header: string, dataBytes: number): Buffer {
  const bytes = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes, Buffer.alloc(dataBytes, 0x3f)]);
}

/** Weights of two layers, and their scales. @param parts of the names of the scales */
function scalesHeader(...parts: readonly string[]): string {
  let end = 0;
  const entries = ATTENTIONS.flatMap((attention) =>
    ["k_proj.weight", ...parts].map((part) => {
      const [dtype, bytes] = part.endsWith("weight") ? ["BF16", 2] : ["F32", 4];
      end += bytes;
      return [`${attention}.${part}`, { dtype, shape: [1], data_offsets: [end - bytes, end] }];
    }),
  );
  return JSON.stringify(Object.fromEntries([["__metadata__", { format: "pt" }], ...entries]));
}

function indexText(): string {
  const weightMap = ATTENTIONS.flatMap((attention) => [
    [`${attention}.k_proj.weight`, FIRST],
    [`${attention}.k_scale`, SECOND],
  ]);
  return JSON.stringify({ metadata: { total_size: 12 }, weight_map: Object.fromEntries(weightMap) });
}

function shardedCheckpoint(): Record<string, string | Uint8Array> {
  const shard = (part: string, dtype: string, bytes: number) => {
    const entries = ATTENTIONS.map((attention, layer) => {
      return [`${attention}.${part}`, { dtype, shape: [1], data_offsets: [layer * bytes, (layer + 1) * bytes] }];
    });
    return safetensors(JSON.stringify(Object.fromEntries(entries)), ATTENTIONS.length * bytes);
  };
  return {
    "config.json": '{"model_type":"llama"}',
    "model.safetensors.index.json": indexText(),
    [FIRST]: shard("k_proj.weight", "BF16", 2),
    [SECOND]: shard("k_scale", "F32", 4),
  };
}

const SCHEME = { num_bits: 8, type: "float", strategy: "tensor", dynamic: false, symmetric: true };
const QUANTIZATIONS: readonly object[] = [
  {
    kv_cache_torch_dtype: "float8_e4m3fn",
    quantization_config: {
      ...{ quant_method: "compressed-tensors", quantization_status: "frozen", format: "dense", config_groups: {} },
      ...{ ignore: ["Linear"], kv_cache_scheme: SCHEME },
    },
  },
  { quantization_config: OUTPUT_FORMATS.vllm.config().quantization_config },
  { quantization_config: { quant_method: "modelopt", quant_algo: "FP8", kv_cache_quant_algo: "FP8" } },
  { quantization_config: { quant_method: "fp8", activation_scheme: "static", ignored_layers: null } },
  {
    quantization_config: {
      quant_method: "quark",
      export: { kv_cache_group: ["*k_proj", "*v_proj"] },
      layer_quant_config: { "*k_proj": { output_tensors: { dtype: "fp8_e4m3", qscheme: "per_tensor" } } },
    },
  },
  { compression_config: { quant_method: "compressed-tensors", config_groups: { group_0: {} } }, text_config: {} },
];

const RECORD = JSON.stringify({
  ...{ tool: "create-kv-scales", tool_version: "0.1.0", dtype: "float8_e4m3fn", headroom: 1, samples: 4 },
  layers: [0, 1].map((layer) => ({
    layer,
    name: ATTENTIONS[layer],
    k_scale: 0.5,
    v_scale: 1,
    k_absmax: 224,
    v_absmax: 448,
  })),
});

const PROMPTS: readonly string[] = [
  [
    { text: "a" },
    {
      messages: [
        { role: "system", content: "b" },
        { role: "user", content: "c" },
      ],
    },
    { prompt: "d", completion: "e" },
    { prompt: [{ role: "user", content: "f" }], completion: [{ role: "assistant", content: "g" }] },
  ]
    .map((row) => JSON.stringify(row))
    .join("\n"),
  "Plain text\n\nof lines.",
];

const TOKENIZER_CONFIGS: readonly string[] = [
  { chat_template: "{% for m in messages %}{{ m.content }}{% endfor %}", bos_token: "<s>", eos_token_id: 2 },
  {
    chat_template: [
      { name: "default", template: "{{ bos_token }}{{ messages[0].content }}" },
      { name: "tool_use", template: "{% if tools is defined %}{{ tools | tojson }}{% endif %}" },
    ],
    bos_token: { content: "<s>", lstrip: false },
    eos_token_id: [1, 2],
    added_tokens_decoder: { "0": { content: "<unk>", special: true } },
    tokenizer_class: "PreTrainedTokenizerFast",
    model_max_length: 1e30,
  },
].map((config) => JSON.stringify(config));

const TOKENIZER = JSON.stringify({
  version: "1.0",
  added_tokens: [
    { id: 0, content: "<s>", special: true, lstrip: false, rstrip: false, single_word: false, normalized: false },
  ],
  normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "Prepend", prepend: "▁" }] },
  pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }] },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: {},
  },
  decoder: { type: "ByteFallback" },
  model: {
    type: "BPE",
    vocab: { "<s>": 0, a: 1, b: 2, ab: 3 },
    merges: [["a", "b"]],
    byte_fallback: true,
    unk_token: null,
  },
});
