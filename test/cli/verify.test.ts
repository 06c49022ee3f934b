// `verify` as a user and a pipeline see it: what it prints, which files it writes, and the exit code that says whether
// to ship. The checkpoint is the embedded example, calibrated once and then damaged in one way each.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seededRandom } from "../helpers/broken-checkpoints.js";
import { INDEX_FILE } from "../helpers/example-checkpoint.js";
import { type RawTensor, SafetensorsFile } from "../helpers/example-checkpoint-safetensors.js";
import { type CliResult, REPOSITORY, runCli, runMain, startCli, withoutTimes } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

const EXAMPLE = join(REPOSITORY, "examples/tiny-llama");
const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const ARMS = ["exact", "16-bit", "fp8", "fp8-at-1", "e5m2"];
const LAYERS = 6;
const FAILED = 6;

type Json = Record<string, unknown>;
type Tensors = Map<string, RawTensor>;

const root = mkdtempSync(join(tmpdir(), "create-kv-scales-verify-"));
const calibrated = join(root, "calibrated");
/** The beginnings of eight shipped texts, a line each: together as short as a verdict allows. */
const TEXT = join(root, "text.txt");
const FEW = ["--data", TEXT, "--sequence-length", "128"];
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeAll(async () => {
  const rows = readFileSync(join(REPOSITORY, "calibration-data/held-out/held-out.jsonl"), "utf8").split("\n");
  const texts = rows.slice(0, 8).map((row) => (JSON.parse(row) as { text: string }).text);
  writeFileSync(TEXT, texts.map((text) => text.replaceAll("\n", " ").slice(0, 160)).join("\n"));
  await calibrate(EXAMPLE, calibrated);
});

async function calibrate(model: string, output: string): Promise<void> {
  const result = await runMain([model, "-o", output, "--samples", "12", "--format", "tgi-separate", "--quiet"]);
  expect(result).toMatchObject({ exitCode: 0 });
}

function verify(model: string, ...more: readonly string[]): Promise<CliResult> {
  return runMain(["verify", model, ...FEW, ...more]);
}

/** A copy of a checkpoint, as files of its own: an output shares its weights with the model. */
function copyOf(model: string): string {
  const folder = join(temporaryFolder(), "model");
  mkdirSync(folder);
  cpSync(model, folder, { recursive: true });
  return folder;
}

function editTensors(folder: string, file: string, edit: (tensors: Tensors) => void): void {
  const path = join(folder, file);
  const content = SafetensorsFile.parse(readFileSync(path));
  edit(content.tensors);
  rmSync(path);
  writeFileSync(path, content.bytes());
}

function editJson(folder: string, file: string, edit: (json: Json) => void): void {
  const path = join(folder, file);
  const json = JSON.parse(readFileSync(path, "utf8")) as Json;
  edit(json);
  rmSync(path);
  writeFileSync(path, JSON.stringify(json));
}

function layersOf(arms: readonly Json[] | undefined): unknown[] {
  return (arms ?? []).map(({ layers }) => layers);
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** The exponent of every bfloat16 number moved: a multiplication by 2^by that rounds nothing. Too small becomes 0. */
function scaleByPowerOfTwo(data: Buffer, by: number): void {
  for (let at = 0; at < data.length; at += 2) {
    const bits = data.readUInt16LE(at);
    const exponent = ((bits >> 7) & 0xff) + by;
    if ((bits & 0x7f80) !== 0) data.writeUInt16LE(exponent > 0 ? (bits & 0x807f) | (exponent << 7) : 0, at);
  }
}

function bfloat16s(values: readonly number[]): Buffer {
  const data = Buffer.alloc(2 * values.length);
  for (const [index, value] of values.entries()) {
    const bits = new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
    data.writeUInt16LE(bits >>> 16, 2 * index);
  }
  return data;
}

/** Keys of up to 7 become keys of up to 7000: far beyond 448. */
const KEY_POWER = 10;

/** The example as a Qwen2 whose keys are 2^KEY_POWER times as large and its queries as much smaller: it predicts the same. */
function withLargeKeys(): string {
  const folder = copyOf(EXAMPLE);
  editJson(folder, "config.json", (config) => {
    delete config.attention_bias;
    delete config.mlp_bias;
    Object.assign(config, { model_type: "qwen2", architectures: ["Qwen2ForCausalLM"], use_sliding_window: false });
  });
  const random = seededRandom(3);
  for (const shard of SHARDS) {
    editTensors(folder, shard, (tensors) => {
      for (const [name, { dtype, shape, data }] of [...tensors]) {
        const projection = /([qkv])_proj\.weight$/.exec(name)?.[1];
        if (projection === undefined) continue;
        if (projection === "k") scaleByPowerOfTwo(data, KEY_POWER);
        if (projection === "q") scaleByPowerOfTwo(data, -KEY_POWER);
        const outputs = Number(Array.isArray(shape) ? shape[0] : Number.NaN);
        const biases = Array.from({ length: outputs }, () =>
          projection === "k" ? 2 ** KEY_POWER * 0.02 * (random() - 0.5) : 0,
        );
        tensors.set(name.replace(/weight$/, "bias"), { dtype, shape: [outputs], data: bfloat16s(biases) });
      }
    });
  }
  editJson(folder, INDEX_FILE, (index) => {
    const weightMap = index.weight_map as Record<string, string>;
    for (const [name, shard] of Object.entries(weightMap)) {
      if (/[qkv]_proj\.weight$/.test(name)) weightMap[name.replace(/weight$/, "bias")] = shard;
    }
  });
  return folder;
}

/** Every number of the projections somewhere else in its matrix: as much energy, no sense. */
function shuffled(): string {
  const folder = copyOf(calibrated);
  const random = seededRandom(5);
  for (const shard of readShards(folder)) {
    editTensors(folder, shard, (tensors) => {
      for (const [name, { data }] of tensors) {
        if (!name.endsWith("_proj.weight")) continue;
        const values = new Uint16Array(data.length / 2).map((_, index) => data.readUInt16LE(2 * index));
        for (let index = values.length - 1; index > 0; index--) {
          const other = Math.floor(random() * (index + 1));
          [values[index], values[other]] = [values[other] ?? 0, values[index] ?? 0];
        }
        for (const [index, value] of values.entries()) data.writeUInt16LE(value, 2 * index);
      }
    });
  }
  return folder;
}

function readShards(folder: string): string[] {
  return Object.keys(snapshot(folder)).filter((name) => /^model-\d.*\.safetensors$/.test(name));
}

describe("a calibrated checkpoint passes: exit 0", () => {
  test("the report has a row for every arm and layer; stderr has the progress; other reports are files, and nothing else is written", async () => {
    const before = snapshot(calibrated);
    const folder = temporaryFolder();
    const [markdown, junit, summary] = ["report.md", "report.xml", "summary.md"].map((name) => join(folder, name));
    writeFileSync(summary ?? "", "# Before\n");
    const args = ["verify", calibrated, ...FEW, "--markdown", markdown ?? "", "--junit", junit ?? ""];
    const { exitCode, stdout, stderr } = await runCli(args, { env: { GITHUB_STEP_SUMMARY: summary ?? "" } });
    expect(readFileSync(markdown ?? "", "utf8")).toMatch(/^\|.*fp8-at-1.*\|$/m);
    expect(readFileSync(junit ?? "", "utf8")).toMatch(/^<\?xml [\s\S]*<testsuite[\s\S]*<\/testsuite/);
    expect(readFileSync(summary ?? "", "utf8")).toBe(`# Before\n${readFileSync(markdown ?? "", "utf8")}`);
    expect(exitCode).toBe(0);
    expect(snapshot(calibrated)).toEqual(before);
    for (const arm of ARMS) expect(stdout).toMatch(new RegExp(`^${arm} +\\d`, "m"));
    for (let layer = 0; layer < LAYERS; layer++) expect(stdout).toMatch(new RegExp(`^ +${layer} +\\d+\\.\\d dB`, "m"));
    expect(stdout).toContain("k_scale, v_scale");
    expect(stdout).not.toContain("\u001b");
    expect(linesOf(withoutTimes(stderr)).map((line) => line.split(" ")[0])).toEqual([
      "Reading",
      "Tokenizing",
      "Verifying",
    ]);
  });

  test("--quiet prints the verdict's name and nothing on stderr", async () => {
    const { exitCode, stdout, stderr } = await verify(calibrated, "--quiet");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(["ship\n", "scale-1-does-as-well\n"]).toContain(stdout);
  });

  test("--json prints one document with every arm, its figures and its layers; --html writes a page of the same, with plots", async () => {
    const file = join(temporaryFolder(), "report.html");
    const { exitCode, stdout } = await verify(calibrated, "--json", "--per-layer", "--html", file);
    const result = JSON.parse(stdout) as { arms: (Json & { layers: unknown[] })[]; verdict: Json };
    expect(exitCode).toBe(0);
    expect(result.arms.map(({ name }) => name)).toEqual(ARMS);
    for (const { layers } of result.arms) expect(layers).toHaveLength(LAYERS);
    expect(result.verdict).toMatchObject({ passed: true });
    const page = readFileSync(file, "utf8");
    expect(page).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/);
    expect(page).toContain(result.verdict.passed ? "Passed</p>" : "Failed</p>");
    for (const arm of ARMS) expect(page).toMatch(new RegExp(`</span>${arm}[ <]`));
    expect(page).toMatch(
      /create-kv-scales \d+\.\d+\.\d+, ONNX Runtime \d+\.\d+\.\d+, Node \d+\.\d+\.\d+; plots by uPlot/,
    );
    const [, json = ""] = /id="plot-data">(.*)<\/script>/.exec(page) ?? [];
    const { plots } = JSON.parse(json) as { plots: Record<string, { x: { names: string[] } }> };
    const sides = (name: string) => [`${name}-k`, `${name}-v`];
    const byLayer = ["absmax", "sqnr", "saturated", "flushed"].flatMap(sides);
    expect(Object.keys(plots)).toEqual(["positions", "effects", ...byLayer]);
    for (const name of ["effects", ...byLayer]) expect(plots[name]?.x.names).toHaveLength(LAYERS);
  });

  test("of --arms only those are in the result; two runs give the same figures, and --memory changes nothing of what caches lost", async () => {
    const armsOf = async (memory: string) => {
      const { stdout } = await verify(calibrated, "--json", "--arms", "fp8,16-bit", "--memory", memory);
      return (JSON.parse(stdout) as { arms: Json[] }).arms;
    };
    const [arms, again, others] = await Promise.all([armsOf("1GiB"), armsOf("1GiB"), armsOf("1")]);
    expect(arms.map(({ name }) => name)).toEqual(["16-bit", "fp8"]);
    expect(again).toEqual(arms);
    expect(layersOf(others)).toEqual(layersOf(arms));
  });
});

describe("reports for others", () => {
  test.each(["--markdown", "--html"])(
    "a report that cannot be written is exit 7, before anything is computed: %s",
    async (option) => {
      const path = join(temporaryFolder(), "missing/report");
      const { exitCode, stdout, stderr } = await verify(calibrated, "--quiet", option, path);
      expect({ exitCode, stdout }).toEqual({ exitCode: 7, stdout: "" });
      expect(stderr).toMatch(/^Error: .*missing\/report: the report cannot be written/);
    },
  );
});

describe("a checkpoint that costs too much fails: exit 6", () => {
  test("with scales 16 times too small: the report is printed, and stderr says why in one line", async () => {
    const folder = copyOf(calibrated);
    const [file = ""] = Object.keys(snapshot(folder)).filter((name) => hasScales(folder, name));
    editTensors(folder, file, (tensors) => {
      for (const [name, { data }] of tensors) {
        if (name.endsWith("_scale")) data.writeFloatLE(data.readFloatLE(0) / 16, 0);
      }
    });
    const junit = join(folder, "..", "report.xml");
    const { exitCode, stdout, stderr } = await verify(folder, "--json", "--junit", junit);
    expect(exitCode).toBe(FAILED);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: { name: "too-costly", passed: false } });
    expect(linesOf(stderr).filter((line) => line.startsWith("Error: "))).toHaveLength(1);
    expect(linesOf(stderr).at(-1)).toMatch(/^Error: Verification failed: /);
    expect(readFileSync(junit, "utf8")).toContain("<failure");
  });

  test("with keys beyond the format's range and no scales; calibrated, the same checkpoint ships", async () => {
    const folder = withLargeKeys();
    const without = await verify(folder, "--json");
    expect(without.exitCode).toBe(FAILED);
    const result = JSON.parse(without.stdout) as { arms: Json[]; verdict: { reasons: string[] } };
    expect(result.arms.map(({ name }) => name)).toEqual(ARMS.filter((name) => name !== "fp8"));
    expect(result).toMatchObject({ verdict: { name: "too-costly" } });
    expect(result.verdict.reasons.join(" ")).toContain("calibrate it");
    const output = join(folder, "../calibrated");
    await calibrate(folder, output);
    expect(await verify(output, "--quiet")).toMatchObject({ exitCode: 0, stdout: "ship\n" });
  });

  test("with weights in disorder it is the baseline that is broken, not the cache", async () => {
    const { exitCode, stdout, stderr } = await verify(shuffled(), "--quiet");
    expect({ exitCode, stdout }).toEqual({ exitCode: FAILED, stdout: "baseline-broken\n" });
    expect(linesOf(stderr)).toHaveLength(1);
  });

  test("by thresholds that are stricter than FP8 can be", async () => {
    expect(await verify(calibrated, "--quiet", "--max-kl", "1e-7")).toMatchObject({ exitCode: FAILED });
  });
});

describe("one text alone cannot decide", () => {
  const args = (folder: string) => {
    const data = join(folder, "one.txt");
    writeFileSync(data, readFileSync(TEXT, "utf8").replaceAll("\n", " "));
    return ["--data", data, "--arms", "16-bit,fp8", "--junit", join(folder, "report.xml")];
  };

  test("exit 8: stderr says so in one line, and JUnit's suite fails, too", async () => {
    const folder = temporaryFolder();
    const { exitCode, stdout, stderr } = await verify(calibrated, "--json", ...args(folder));
    expect(exitCode).toBe(8);
    const { verdict } = JSON.parse(stdout) as { verdict: Json & { reasons: string[] } };
    expect(verdict).toMatchObject({ name: "inconclusive", passed: false, more_tokens: null });
    expect(verdict.reasons.at(-1)).toMatch(/^A single text says nothing/);
    expect(linesOf(stderr).at(-1)).toMatch(/^Error: Verification is inconclusive: Not enough text/);
    expect(readFileSync(join(folder, "report.xml"), "utf8")).toContain('type="inconclusive"');
  });

  test("with --allow-inconclusive it is exit 0, and skipped in JUnit", async () => {
    const folder = temporaryFolder();
    const result = await verify(calibrated, "--quiet", "--allow-inconclusive", ...args(folder));
    expect(result).toMatchObject({ exitCode: 0, stdout: "inconclusive\n", stderr: "" });
    expect(readFileSync(join(folder, "report.xml"), "utf8")).toMatch(/failures="0"[\s\S]*name="verdict"><skipped/);
  });
});

function hasScales(folder: string, name: string): boolean {
  if (!name.endsWith(".safetensors")) return false;
  return SafetensorsFile.parse(readFileSync(join(folder, name)))
    .names()
    .some((tensor) => tensor.endsWith("_scale"));
}

describe("--generate answers prompts through caches that are really stored", () => {
  const ASK = ["--generate", "--max-new-tokens", "6", "--arms", "fp8,16-bit"];
  interface Continuation {
    readonly text: string;
    readonly token_ids: readonly number[];
    readonly ended_by: string;
  }
  interface Cache {
    readonly arm: string;
    readonly bytes_per_token: number;
    readonly bytes_per_token_by_layer: readonly number[];
  }
  interface Generation {
    readonly max_new_tokens: number;
    readonly texts: readonly {
      readonly prompt: string;
      readonly parts_at: number | null;
      readonly bits_16: Continuation;
      readonly fp8: Continuation;
    }[];
    readonly caches: { readonly bits_16: Cache; readonly fp8: Cache };
  }
  const generationOf = (stdout: string) => (JSON.parse(stdout) as { generation: Generation }).generation;
  /** A text to go on with, and messages: quicker than the shipped prompts. */
  const own = join(root, "own.jsonl");
  const OWN = ["--generate-data", own];
  const TEXT_TO_GO_ON = "The harbour master wrote down every boat";
  const MESSAGES = [
    { role: "user", content: "Hello" },
    { role: "assistant", content: "left out" },
  ];
  beforeAll(() => {
    writeFileSync(own, [{ text: TEXT_TO_GO_ON }, { messages: MESSAGES }].map((row) => JSON.stringify(row)).join("\n"));
  });

  test("--json has the texts, where they part, and bytes per token and layer: 2 × kv_heads × head_dim in FP8", async () => {
    const { exitCode, stdout } = await verify(calibrated, "--json", ...ASK);
    expect(exitCode).toBe(0);
    const { max_new_tokens, texts, caches } = generationOf(stdout);
    expect(max_new_tokens).toBe(6);
    expect(texts).toHaveLength(9);
    expect(texts[0]?.prompt).toMatch(/^What is the capital of France/);
    for (const { parts_at, bits_16, fp8 } of texts) {
      const parting = bits_16.token_ids.findIndex((id, index) => id !== fp8.token_ids[index]);
      expect(parts_at).toBe(parting === -1 && bits_16.token_ids.length === fp8.token_ids.length ? null : parting + 1);
      expect([bits_16, fp8].every(({ token_ids }) => token_ids.length > 0 && token_ids.length <= 6)).toBe(true);
      expect(bits_16.text).not.toBe("");
    }
    expect(caches.fp8).toMatchObject({ arm: "fp8", bytes_per_token_by_layer: Array(LAYERS).fill(2 * 2 * 32) });
    expect(caches.fp8).toMatchObject({ stored_as: "uint8 codes", time_includes_prompts: false });
    expect(caches.bits_16).toMatchObject({ arm: "16-bit", bytes_per_token: LAYERS * 2 * 2 * 2 * 32 });
  });

  test("the report shows them, and stderr says that it generates", async () => {
    const { exitCode, stdout, stderr } = await verify(calibrated, ...ASK, ...OWN);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`Generated through the stored caches\n  prompt  ${TEXT_TO_GO_ON}`);
    expect(
      stdout.match(/^ {10}(all 6 tokens are equal|the texts differ from token \d+ on \(6 tokens\))$/gm)?.length,
    ).toBeGreaterThan(0);
    expect(stdout).toMatch(/\d of 2 texts (is|are) equal\. A token takes 1,536 bytes in bfloat16, 768 in/);
    expect(stdout.replaceAll("\n", " ")).toContain("Stored as uint16 and uint8 codes.");
    expect(linesOf(stdout).filter((line) => line.length > 80)).toEqual([]);
    expect(stderr).toMatch(/^\S+ Generating .* text 1\/4$/m);
  });

  test("of a checkpoint without scales the cache is that at scale 1.0", async () => {
    const { stdout } = await verify(EXAMPLE, "--json", ...ASK, ...OWN, "--arms", "fp8-at-1,16-bit");
    expect(generationOf(stdout).caches.fp8.arm).toBe("fp8-at-1");
  });

  test("own prompts are answered or gone on with, and a text ends at the checkpoint's end token", async () => {
    const run = (model: string) => verify(model, "--json", ...ASK, ...OWN);
    const { texts } = generationOf((await run(calibrated)).stdout);
    expect(texts.map(({ prompt }) => prompt)).toEqual([TEXT_TO_GO_ON, "Hello"]);
    const ids = texts[0]?.bits_16.token_ids ?? [];
    expect(texts[0]?.bits_16).toMatchObject({ ended_by: "limit" });
    const folder = copyOf(calibrated);
    const end = ids[4] ?? Number.NaN;
    editJson(folder, "generation_config.json", (config) => Object.assign(config, { eos_token_id: [1, end] }));
    const [first] = generationOf((await run(folder)).stdout).texts;
    expect(first?.bits_16).toMatchObject({ token_ids: ids.slice(0, ids.indexOf(end) + 1), ended_by: "end-token" });
  });

  test.each<[string, readonly string[], RegExp]>([
    ["prompts that are not there", ["--generate-data", "nowhere.jsonl"], /nowhere\.jsonl: cannot be opened/],
    ["weights beyond --memory", ["--memory", "1MiB"], /--generate keeps the whole model.*--memory allows 1\.0 MiB/],
    ["no tokens at all", ["--max-new-tokens", "0"], /--max-new-tokens/],
  ])("%s are exit 2, before anything is computed", async (_rule, args, says) => {
    const { exitCode, stdout, stderr } = await verify(calibrated, "--generate", ...args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain("Verifying");
  });

  test("an empty file of prompts is exit 2", async () => {
    const data = join(temporaryFolder(), "empty.txt");
    writeFileSync(data, "\n\n");
    const { exitCode, stderr } = await verify(calibrated, "--generate", "--generate-data", data);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^Error: .*empty\.txt: holds no prompt/m);
  });

  test("options of --generate without it are exit 2", async () => {
    const { exitCode, stderr } = await verify(calibrated, "--max-new-tokens", "4");
    expect(exitCode).toBe(2);
    expect(stderr).toContain("go with --generate");
  });
});

describe("what cannot be verified is refused before anything is computed", () => {
  test.each<[string, readonly string[], RegExp]>([
    ["an arm that does not exist", ["--arms", "16-bit,fp4"], /--arms.*fp8-at-1/],
    ["a baseline that is not among the arms", ["--arms", "fp8,16-bit", "--baseline", "exact"], /baseline: exact/],
    [
      "arms without the one that the verdict is about",
      ["--arms", "16-bit"],
      /expected fp8 among them.*--arms 16-bit,fp8/,
    ],
    ["--json and --quiet", ["--json", "--quiet"], /Choose one of --json and --quiet/],
    ["windows of one token", ["--sequence-length", "1"], /sequenceLength|sequence-length/],
    ["a share that is none", ["--min-agreement", "high"], /--min-agreement/],
    ["a share of more than all", ["--min-agreement", "150%"], /--min-agreement.*from 0% to 100%/],
    ["data that is not there", ["--data", "nowhere.txt"], /nowhere\.txt/],
  ])("%s is exit 2", async (_rule, args, says) => {
    const { exitCode, stdout, stderr } = await verify(calibrated, ...args);
    const printed = args.includes("--json") ? expect.stringContaining('"kind": "UsageError"') : "";
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: printed });
    expect(stderr).toMatch(says);
  });

  test("a scale missing in one layer is exit 3, and the layer is named", async () => {
    const folder = copyOf(calibrated);
    const isMissing = (name: string) => /layers\.4\.self_attn\.(kv|k|v)_scale$/.test(name);
    const [file = ""] = Object.keys(snapshot(folder)).filter((name) => hasScales(folder, name));
    editTensors(folder, file, (tensors) => {
      for (const name of [...tensors.keys()].filter(isMissing)) tensors.delete(name);
    });
    editJson(folder, INDEX_FILE, (index) => {
      const entries = Object.entries(index.weight_map as Record<string, string>);
      index.weight_map = Object.fromEntries(entries.filter(([name]) => !isMissing(name)));
    });
    const { exitCode, stdout, stderr } = await verify(folder);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: "" });
    expect(stderr).toMatch(/^Error: .*"model\.layers\.4\.self_attn" has neither kv_scale nor both/m);
  });

  test.each([
    ["0", 0],
    ["negative", -0.5],
    ["NaN", Number.NaN],
  ])("a scale that is %s is exit 3", async (_name, value) => {
    const folder = copyOf(calibrated);
    const [file = ""] = Object.keys(snapshot(folder)).filter((name) => hasScales(folder, name));
    editTensors(folder, file, (tensors) =>
      tensors.get("model.layers.2.self_attn.k_scale")?.data.writeFloatLE(value, 0),
    );
    const { exitCode, stderr } = await verify(folder);
    expect(exitCode).toBe(3);
    expect(stderr).toMatch(/^Error: .*layers\.2\.self_attn\.k_scale.*expected one finite positive number/m);
  });

  test("a checkpoint without a head, and not tied, is exit 4", async () => {
    const folder = copyOf(calibrated);
    editJson(folder, "config.json", (config) => Object.assign(config, { tie_word_embeddings: false }));
    const { exitCode, stdout, stderr } = await verify(folder);
    expect({ exitCode, stdout }).toEqual({ exitCode: 4, stdout: "" });
    expect(stderr).toMatch(/^Error: .*"lm_head\.weight"/m);
  });
});

test.each<[string, readonly string[]]>([
  ["Tokenizing", ["--memory", "1", "--sequence-length", "2048"]],
  ["Verifying", ["--memory", "1", "--sequence-length", "2048"]],
  ["Generating", [...FEW, "--generate"]],
])("SIGINT while %s is exit 130, without a report", async (stage, args) => {
  const { child, done } = startCli(["verify", calibrated, ...args]);
  let sent = false;
  child.stderr?.on("data", (chunk: Buffer) => {
    if (sent || !chunk.toString().includes(stage)) return;
    sent = true;
    child.kill("SIGINT");
  });
  const { exitCode, stdout, stderr } = await done;
  expect({ exitCode, stdout, sent }).toEqual({ exitCode: 130, stdout: "", sent: true });
  expect(stderr).toContain("Interrupted");
});
