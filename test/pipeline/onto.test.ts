// --onto: scales of a 16-bit checkpoint, measured or read, written onto its quantized sibling; and every way in which a
// checkpoint is not that sibling.

import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { judgeScales } from "../../src/checkpoint/engine-rules.js";
import { gatherScaleFacts } from "../../src/checkpoint/scale-facts.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { CheckpointError } from "../../src/errors.js";
import { decodeBits16, encodeBits16 } from "../../src/numerics/bits16.js";
import { convert } from "../../src/pipeline/convert.js";
import { buildLayout, LAYERS, LAYOUTS, type LayoutName, VALUE } from "../checkpoint/scale-layouts.js";
import { SafetensorsFile } from "../helpers/example-checkpoint-safetensors.js";
import { runMain } from "../helpers/run-cli.js";
import { snapshot } from "../helpers/run-cli-folders.js";
import { temporaryFolder } from "../helpers/safetensors-files.js";

type Json = Record<string, unknown>;

const root = temporaryFolder();
const INDEX = "model.safetensors.index.json";
const WEIGHTS = "model-00001-of-00001.safetensors";

/** A layout with files of its own: links that lead out of a folder would not be copied. */
function folderOf(layout: LayoutName, name: string): string {
  const folder = buildLayout(LAYOUTS[layout], join(root(), name));
  for (const file of readdirSync(folder).filter((other) => /^(tokenizer|generation)/.test(other))) {
    rewrite(join(folder, file), (content) => content);
  }
  return folder;
}

function rewrite(path: string, edit: (content: Buffer) => Buffer | string): void {
  const content = edit(readFileSync(path));
  rmSync(path);
  writeFileSync(path, content);
}

function editJson(path: string, edit: (json: Json) => Json): void {
  rewrite(path, (content) => JSON.stringify(edit(JSON.parse(content.toString()) as Json)));
}

/** Changes tensors of the sibling, whose weights are one file. */
function editTensors(folder: string, edit: (file: SafetensorsFile) => SafetensorsFile): void {
  const edited = edit(SafetensorsFile.parse(readFileSync(join(folder, WEIGHTS))));
  writeFileSync(join(folder, WEIGHTS), edited.bytes());
  const map = Object.fromEntries(edited.names().map((name) => [name, WEIGHTS]));
  editJson(join(folder, INDEX), (index) => ({ ...index, weight_map: map }));
}

/** One element of a BF16 tensor. */
function poke(tensor: string, element: number, bits: number) {
  return (folder: string) =>
    editTensors(folder, (file) => {
      file.tensors.get(tensor)?.data.writeUInt16LE(bits, 2 * element);
      return file;
    });
}

function source(): string {
  return folderOf("k and v [1], block", "model");
}

function sibling(layout: LayoutName = "no scales, compressed int8 weights"): string {
  return folderOf(layout, "sibling");
}

async function factsOf(folder: string) {
  return gatherScaleFacts(await surveyCheckpoint(folder));
}

describe("scales that are read", () => {
  test.each<LayoutName>([
    "no scales, compressed int8 weights",
    "no scales, fp8 weights per tensor",
    "k and v, compressed 4-bit weights",
  ])("of a checkpoint are written onto its sibling: %s", async (layout) => {
    const [model, onto] = [source(), sibling(layout)];
    const before = snapshot(onto);
    const output = join(root(), "result");
    const result = await convert({ model, onto, format: "vllm", output, force: true });
    expect(result).toMatchObject({ output, onto, inPlace: false, source: "k_scale, v_scale", warnings: [] });
    expect(snapshot(onto)).toEqual(before);
    const { layers } = judgeScales("vllm", await factsOf(output));
    for (let layer = 0; layer < LAYERS; layer++) {
      expect(layers?.get(layer)).toEqual({ k: VALUE.k(layer), v: VALUE.v(layer) });
    }
    expect(statSync(join(output, WEIGHTS)).ino).toBe(statSync(join(onto, WEIGHTS)).ino);
    expect(JSON.parse(readFileSync(join(output, "kv_scales.json"), "utf8"))).toMatchObject({ onto: "sibling" });
  });

  test("go into a folder named after the sibling, or into its own", async () => {
    const [model, onto] = [source(), sibling()];
    expect(await convert({ model, onto, format: "vllm" })).toMatchObject({ output: `${onto}-vllm` });
    expect(await convert({ model, onto, format: "vllm", inPlace: true })).toMatchObject({ output: onto, onto });
    expect(judgeScales("vllm", await factsOf(onto)).use).toBe("used");
    await expect(convert({ model, onto, format: "vllm", inPlace: true })).rejects.toThrow("--force");
  });

  test("are refused where no engine reads them beside such weights", async () => {
    const options = { model: source(), onto: sibling("no scales, gptq weights"), output: join(root(), "result") };
    await expect(convert({ ...options, format: "vllm" })).rejects.toThrow(/vLLM does not use the scales/);
    expect(await convert({ ...options, format: "tgi" })).toMatchObject({ convertTo: undefined });
  });
});

/** Siblings that differ in form only. */
test.each<[name: string, edit: (folder: string) => void]>([
  [
    "config.json of the other dialect, with keys of quantization tools",
    (folder) =>
      editJson(join(folder, "config.json"), ({ rope_theta: theta, torch_dtype: dtype, ...config }) => ({
        ...config,
        ...{ rope_parameters: { rope_type: "default", rope_theta: theta }, dtype, transformers_version: "5.19.0" },
        ...{ tie_word_embeddings: false, _name_or_path: "/elsewhere" },
      })),
  ],
  [
    "norms and embeddings in float16",
    (folder) =>
      editTensors(folder, (file) => {
        for (const tensor of file.tensors.values()) if (tensor.dtype === "BF16") toFloat16(tensor);
        return file;
      }),
  ],
  [
    "names with another prefix",
    (folder) =>
      editTensors(folder, ({ tensors, metadata }) => {
        const renamed = [...tensors].map(
          ([name, tensor]) => [name.replace("model.", "language_model.model."), tensor] as const,
        );
        return new SafetensorsFile(new Map(renamed), metadata);
      }),
  ],
  [
    "a tokenizer that was saved by another version, and cuts texts",
    (folder) =>
      editJson(join(folder, "tokenizer.json"), (tokenizer) => {
        const model = tokenizer.model as { merges: string[] };
        const merges = model.merges.map((pair) => (Array.isArray(pair) ? pair.join(" ") : pair));
        return { ...tokenizer, truncation: { max_length: 512 }, model: { ...model, merges } };
      }),
  ],
])("a sibling may have %s", async (_, edit) => {
  const [model, onto] = [source(), sibling()];
  edit(onto);
  const result = await convert({ model, onto, format: "vllm", output: join(root(), "result") });
  expect(result.scales).toHaveLength(LAYERS);
});

function toFloat16(tensor: { dtype: unknown; readonly data: Buffer }): void {
  tensor.dtype = "F16";
  for (let at = 0; at < tensor.data.length; at += 2) {
    const value = decodeBits16("bfloat16", tensor.data.readUInt16LE(at));
    tensor.data.writeUInt16LE(encodeBits16("float16", value), at);
  }
}

const NORM = "model.layers.3.input_layernorm.weight";

/** Each is named with what was expected, what was found, and the file. */
test.each<[name: string, edit: (folder: string) => void, says: RegExp]>([
  [
    "another number of heads",
    (folder) => editJson(join(folder, "config.json"), (config) => ({ ...config, num_key_value_heads: 4 })),
    /num_key_value_heads: expected 2, found 4 \(config\.json\)/,
  ],
  [
    "another rotation",
    (folder) => editJson(join(folder, "config.json"), (config) => ({ ...config, rope_theta: 5e5 })),
    /rope_theta: expected 10000, found 500000 \(config\.json\)/,
  ],
  [
    "a rotation that is scaled",
    (folder) =>
      editJson(join(folder, "config.json"), (config) => ({
        ...config,
        rope_scaling: { rope_type: "linear", factor: 2 },
      })),
    /rope_scaling\.factor: expected none, found 2/,
  ],
  [
    "another architecture",
    (folder) => editJson(join(folder, "config.json"), (config) => ({ ...config, model_type: "qwen2" })),
    /model_type: expected "llama", found "qwen2"/,
  ],
  [
    "fewer layers",
    (folder) => {
      editJson(join(folder, "config.json"), (config) => ({ ...config, num_hidden_layers: 5 }));
    },
    /num_hidden_layers: expected 6, found 5.*attention: expected model\.layers\.5\.self_attn, found none/,
  ],
  [
    "a token with another id",
    (folder) =>
      editJson(join(folder, "tokenizer.json"), (tokenizer) => {
        const model = tokenizer.model as { vocab: Record<string, number> };
        const [first = "", second = ""] = Object.keys(model.vocab).slice(-2);
        const swapped = { [first]: model.vocab[second] ?? 0, [second]: model.vocab[first] ?? 0 };
        return { ...tokenizer, model: { ...model, vocab: { ...model.vocab, ...swapped } } };
      }),
    /token ".+": expected id \d+, found \d+ \(tokenizer\.json\)/,
  ],
  [
    "another norm",
    poke(NORM, 7, 0x4000),
    /tensor "model\.layers\.3\.input_layernorm\.weight"\[7\]: expected \S+, found 2 \(/,
  ],
  ["another embedding", poke("model.embed_tokens.weight", 128 * 2304 - 1, 0x4000), /embed_tokens\.weight"\[294911\]/],
  [
    "a norm less",
    (folder) => editTensors(folder, (file) => file.pick(file.names().filter((name) => name !== NORM))),
    /tensor "model\.layers\.3\.input_layernorm\.weight": expected shape \[128\], found none/,
  ],
  [
    "no norm of the same name",
    (folder) => editTensors(folder, (file) => file.pick(file.names().filter((name) => !name.includes("norm")))),
    /layernorm\.weight": expected shape \[128\], found none.*and \d+ more/,
  ],
])("a checkpoint with %s is refused", async (_, edit, says) => {
  const [model, onto] = [source(), sibling()];
  edit(onto);
  const before = snapshot(root());
  const refusal = convert({ model, onto, format: "vllm", output: join(root(), "result") });
  await expect(refusal).rejects.toThrow(CheckpointError);
  await expect(refusal).rejects.toThrow(/is not the same model as .*model, so its K and V may be others: /);
  await expect(refusal).rejects.toThrow(says);
  expect(snapshot(root())).toEqual(before);
});

test("a sibling without a tokenizer is accepted with a warning", async () => {
  const [model, onto] = [source(), sibling()];
  rmSync(join(onto, "tokenizer.json"));
  const { warnings } = await convert({ model, onto, format: "vllm", output: join(root(), "result") });
  expect(warnings).toEqual([expect.stringContaining("its tokenizer could not be compared")]);
});

describe("scales that are measured", () => {
  test("on a model are recorded as its own, and go onto the sibling as a conversion would write them", async () => {
    const [model, onto] = [folderOf("no scales", "model"), sibling()];
    const output = join(root(), "onto");
    const words = [model, "--onto", onto, "--format", "vllm", "-o", output, "--provider", "cpu", "--samples", "2"];
    const planned = await runMain([...words, "--dry-run", "--json"]);
    expect(JSON.parse(planned.stdout)).toMatchObject({ checkpoint: model, onto, writes: { paths: [output] } });
    const { exitCode, stdout } = await runMain([...words, "--json"]);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ onto, output, in_place: false });
    const recordIn = (folder: string) => JSON.parse(readFileSync(join(folder, "kv_scales.json"), "utf8")) as Json;
    const record = recordIn(output);
    expect(record).toMatchObject({ model: "model", onto: "sibling" });
    expect(record.command).toContain("create-kv-scales model --onto sibling --format vllm ");
    // What was measured on the model alone, converted.
    const alone = join(root(), "alone");
    await runMain([model, "-o", alone, "--provider", "cpu", "--samples", "2", "--quiet"]);
    const converted = join(root(), "converted");
    expect(
      await runMain(["convert", alone, "--onto", onto, "--format", "vllm", "-o", converted, "--json"]),
    ).toMatchObject({ exitCode: 0 });
    expect(snapshot(converted)).toEqual(snapshot(output));
    expect(recordIn(converted).config_sha256).toBe(recordIn(alone).config_sha256);
  });

  test("on one model are refused on another, before anything is computed", async () => {
    const [model, onto] = [folderOf("no scales", "model"), sibling()];
    editJson(join(onto, "config.json"), (config) => ({ ...config, rms_norm_eps: 0.1 }));
    const { exitCode, stderr } = await runMain([model, "--onto", onto, "-o", join(root(), "result")]);
    expect(exitCode).toBe(3);
    expect(stderr).toContain("rms_norm_eps: expected 0.00001, found 0.1 (config.json)");
    expect(stderr).not.toContain("Measuring");
  });
});
