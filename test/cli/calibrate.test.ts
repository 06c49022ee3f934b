// The main job, end to end: what the built program prints, which files it writes, and what is in them.

import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { SafeTensor } from "safetensors";
import { describe, expect, test } from "vitest";
import { calibratedExample } from "../helpers/calibrated-example.js";
import { calibrationOf, EXAMPLE, type ExampleFolder, INDEX_FILE, makeExample } from "../helpers/example-checkpoint.js";
import { joinFile, splitFile } from "../helpers/example-checkpoint-safetensors.js";
import { type CliResult, REPOSITORY, runCli, runMain, startCli, withoutTimes } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

const DTYPES = ["float8_e4m3fn", "float8_e4m3fnuz"];
const SCALES_OF_FORMAT: Readonly<Record<string, readonly string[]>> = {
  tgi: ["kv_scale"],
  "tgi-separate": ["kv_scale", "k_scale", "v_scale"],
  vllm: ["k_scale", "v_scale"],
};
const COMPRESSED_TENSORS = {
  quant_method: "compressed-tensors",
  quantization_status: "frozen",
  format: "dense",
  config_groups: {},
  ignore: ["Linear"],
  kv_cache_scheme: { num_bits: 8, type: "float", strategy: "tensor", dynamic: false, symmetric: true },
};

interface Scale {
  readonly shape: number[];
  readonly dtype: string;
  readonly value: number;
}

interface Result {
  readonly output: string;
  readonly samples: number;
  readonly tokens: number;
  readonly placement: string | null;
  readonly warnings: readonly string[];
  readonly layers: readonly { readonly k_absmax: number; readonly v_absmax: number; readonly kv_scale: number }[];
}

function json(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
}

/** The scales as the npm package `safetensors` reads them. It stumbles over `__metadata__`, which goes first. */
function readScales(folder: string): Record<string, Scale> {
  const { weight_map } = json(join(folder, INDEX_FILE)) as { weight_map: Record<string, string> };
  const names = Object.keys(weight_map).filter((name) => name.endsWith("_scale"));
  const scales: Record<string, Scale> = {};
  for (const name of names) {
    const { header, data } = splitFile(readFileSync(join(folder, weight_map[name] ?? "")));
    const { __metadata__, ...tensors } = header;
    const reader = new SafeTensor(new Uint8Array(joinFile(JSON.stringify(tensors), data)));
    const { shape = [], dtype = "none" } = reader.metadata.get(name) ?? {};
    const bytes = reader.getTensor(name);
    scales[name] = {
      shape,
      dtype,
      value: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat32(0, true),
    };
    expect(bytes).toHaveLength(4);
  }
  return scales;
}

function scaleValues(folder: string): Record<string, number> {
  return Object.fromEntries(Object.entries(readScales(folder)).map(([name, { value }]) => [name, value]));
}

/** A report as a shell reads it: lines that end in a backslash go on. */
function commandsOf(stdout: string): string {
  return stdout.replaceAll("\\\n", "").replaceAll(/ +/g, " ");
}

/** In this process, which is quicker; what only a process of its own has is asked of `runCli`. */
async function succeed(args: readonly string[], run: typeof runCli = runMain): Promise<CliResult> {
  const result = await run(args);
  expect(result).toMatchObject({ exitCode: 0, signal: null });
  return result;
}

/** Runs with --json and gives what it says. */
async function calibrateToJson(args: readonly string[]): Promise<Result> {
  return JSON.parse((await succeed([...args, "--json"])).stdout) as Result;
}

function writePrompts(example: ExampleFolder, name: string, rows: readonly unknown[]): string {
  const path = join(example.root, name);
  writeFileSync(path, rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n"));
  return path;
}

/** What a run says of its prompts, the hash of their texts among it, and of the scales. */
/** What the record says of the prompts themselves, not of the name of their file. */
async function recordOfData(example: ExampleFolder, data: string): Promise<Record<string, unknown>> {
  const output = join(example.root, `output-of-${relative(example.root, data).replaceAll("/", "-")}`);
  await succeed([example.model, "-o", output, "--data", data]);
  const { data: name, command, record_sha256, ...record } = json(join(output, "kv_scales.json"));
  expect(name).toBe(basename(data));
  expect(command).toContain(`--data ${basename(data)} `);
  expect(record_sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(record.prompts_sha256).toMatch(/^[0-9a-f]{64}$/);
  return record;
}

describe("the report", () => {
  test("stdout has a row per layer, the output and the command of the engine; stderr has the progress", async () => {
    const example = makeExample(temporaryFolder());
    const { stdout, stderr } = await succeed(calibrationOf(example), runCli);
    for (let layer = 0; layer < EXAMPLE.layers; layer++) expect(stdout).toMatch(new RegExp(`^ +${layer} +\\d`, "m"));
    expect(stdout).toContain(`${EXAMPLE.layers} layers · 6 prompts · `);
    expect(stdout).toContain(`Written to ${example.output}\n`);
    expect(commandsOf(stdout)).toContain(`text-generation-launcher --model-id ${example.output}`);
    expect(stdout).not.toMatch(/Reading|Tokenizing|Calibrating/);
    expect(
      withoutTimes(stderr)
        .trimEnd()
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual(["Reading", "Tokenizing", "Calibrating"]);
    // There is no terminal.
    expect(stdout + stderr).not.toContain("\u001b");
  });

  test("of scales that several engines read, it names every engine's command", async () => {
    const example = makeExample(temporaryFolder());
    const { stdout } = await succeed(calibrationOf(example, "--format", "vllm"));
    for (const command of [
      "vllm serve",
      "python -m sglang.launch_server --model-path",
      "text-generation-launcher --model-id",
    ]) {
      expect(commandsOf(stdout)).toContain(`${command} ${example.output}`);
    }
  });

  test("--json prints one JSON document on stdout and nothing else", async () => {
    const example = makeExample(temporaryFolder());
    const { stdout, stderr } = await succeed(calibrationOf(example, "--json"));
    const result = JSON.parse(stdout) as Result;
    expect(stdout.endsWith("}\n")).toBe(true);
    expect(result).toMatchObject({ output: example.output, samples: 6, format: "tgi", dtype: "float8_e4m3fn" });
    expect(result.layers).toHaveLength(EXAMPLE.layers);
    expect(stderr).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ Reading/);
  });

  test("--quiet prints the folder, and nothing but warnings on stderr", async () => {
    const example = makeExample(temporaryFolder());
    expect(await succeed(calibrationOf(example, "--quiet"))).toMatchObject({
      stdout: `${example.output}\n`,
      stderr: expect.stringMatching(/^(Warning: .+\n)*$/),
    });
  });

  test("a reader that closes stdout early does not stop the run", async () => {
    const example = makeExample(temporaryFolder());
    const { child, done } = startCli(calibrationOf(example));
    child.stdout?.destroy();
    expect(await done).toMatchObject({ exitCode: 0 });
    expect(existsSync(example.output)).toBe(true);
  });
});

describe("the files", () => {
  const rows = Object.keys(SCALES_OF_FORMAT).flatMap((format) => DTYPES.map((dtype) => ({ format, dtype })));

  test.each(rows.filter(({ format, dtype }) => format !== "vllm" || dtype === "float8_e4m3fn"))(
    "--format $format --dtype $dtype: names, shapes, dtypes, values and config.json",
    async ({ format, dtype }) => {
      const example = makeExample(temporaryFolder());
      const { layers } = await calibrateToJson(calibrationOf(example, "--format", format, "--dtype", dtype));
      const scales = readScales(example.output);
      const divisor = dtype === "float8_e4m3fn" ? 448 : 224;
      const expected = layers.flatMap(({ k_absmax, v_absmax }, layer) => {
        const absmax = { kv_scale: Math.max(k_absmax, v_absmax), k_scale: k_absmax, v_scale: v_absmax };
        return (SCALES_OF_FORMAT[format] ?? []).map((name) => ({
          name: `model.layers.${layer}.self_attn.${name}`,
          exact: absmax[name as keyof typeof absmax] / divisor,
        }));
      });
      expect(Object.keys(scales)).toEqual(expected.map(({ name }) => name));
      for (const { name, exact } of expected) {
        const { shape, dtype: stored, value } = scales[name] ?? { shape: [NaN], dtype: "none", value: NaN };
        expect({ shape, stored }).toEqual({ shape: format === "vllm" ? [1] : [], stored: "F32" });
        expect(value).toBeGreaterThanOrEqual(exact);
        expect(value).toBeLessThan(exact * (1 + 2 ** -22));
      }
      const added = format === "vllm" ? { quantization_config: COMPRESSED_TENSORS } : { kv_cache_torch_dtype: dtype };
      expect(json(join(example.output, "config.json"))).toEqual({
        ...json(join(example.model, "config.json")),
        ...added,
      });
    },
  );

  test("weights are the model's own files, other files travel along, and every file is in the index", async () => {
    const example = makeExample(temporaryFolder());
    writeFileSync(join(example.model, "generation_config.json"), "{}");
    writeFileSync(join(example.model, "modeling_custom.py"), "pass");
    await succeed(calibrationOf(example));
    const inode = (path: string) => statSync(path).ino;
    const weights = join(example.output, "model-00001-of-00002.safetensors");
    expect(inode(weights)).toBe(inode(join(example.model, "model.safetensors")));
    expect(Object.keys(snapshot(example.output))).toEqual(
      [
        "config.json",
        "generation_config.json",
        "kv_scales.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        INDEX_FILE,
        "modeling_custom.py",
        "tokenizer.json",
      ].sort(),
    );
    const { weight_map, metadata } = json(join(example.output, INDEX_FILE)) as {
      weight_map: Record<string, string>;
      metadata: { total_size: number };
    };
    const files = [...new Set(Object.values(weight_map))];
    expect(files.sort()).toEqual(["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    const sizes = files.map((file) => splitFile(readFileSync(join(example.output, file))).data.length);
    expect(metadata.total_size).toBe(sizes.reduce((sum, size) => sum + size, 0));
  });

  test.each([
    ["two runs give byte-identical folders", []],
    ["--memory changes how many layers are in memory, not a byte of the result", ["--memory", "1"]],
  ])("%s", async (_rule, options) => {
    const example = await calibratedExample();
    const other = { ...example, output: join(example.root, "other") };
    await succeed(calibrationOf(other, ...options));
    expect(snapshot(other.output)).toEqual(snapshot(example.output));
  });

  test("one file and 5 shards of the same weights give the same scales", async () => {
    const single = await calibratedExample();
    const sharded = makeExample(temporaryFolder(), 5);
    await succeed(calibrationOf(sharded));
    expect(readScales(sharded.output)).toEqual(readScales(single.output));
  });

  test("the result of a result is the same result", async () => {
    const example = await calibratedExample();
    const again = { ...example, model: example.output, output: join(example.root, "again") };
    await succeed(calibrationOf(again));
    expect(scaleValues(again.output)).toEqual(scaleValues(example.output));
  });

  const otherDevice = existsSync("/dev/shm") && statSync("/dev/shm").dev !== statSync(REPOSITORY).dev;
  test.skipIf(!otherDevice)("weights are copied to another file system (skipped without one at /dev/shm)", async () => {
    const example = await calibratedExample();
    const far = { ...example, output: join(temporaryFolder("/dev/shm"), "output") };
    const { stdout, stderr } = await succeed(calibrationOf(far));
    expect(snapshot(far.output)).toEqual(snapshot(example.output));
    expect(stdout).toContain("weights copied");
    expect(stderr).toContain("Copying weights");
  });
});

describe("where the result goes", () => {
  test("beside the model as <model>-FP8-KV by default", async () => {
    const { root, model, prompts } = makeExample(temporaryFolder());
    const { stdout } = await succeed([model, "--data", prompts, "--quiet"]);
    expect(stdout).toBe(`${join(root, "model-FP8-KV")}\n`);
    expect(existsSync(join(root, "model-FP8-KV/config.json"))).toBe(true);
  });

  test("into folders that do not exist yet, relative to where the user is", async () => {
    const { root, model, prompts } = makeExample(temporaryFolder());
    await succeed([model, "--data", prompts, "-o", "a/b/c"], (args) => runCli(args, { cwd: root }));
    expect(existsSync(join(root, "a/b/c/config.json"))).toBe(true);
  });

  test.each([1, 2])("--in-place adds the scales to a model of %d files and touches no weight", async (shards) => {
    const example = makeExample(temporaryFolder(), shards);
    const weights = Object.keys(snapshot(example.model)).filter((name) => name.endsWith(".safetensors"));
    const before = snapshot(example.model);
    await succeed([example.model, "--in-place", "--data", example.prompts]);
    const after = snapshot(example.model);
    const moved = (name: string) => (name === "model.safetensors" ? "model-00001-of-00002.safetensors" : name);
    for (const name of weights) expect(after[moved(name)]).toBe(before[name]);
    expect(after["tokenizer.json"]).toBe(before["tokenizer.json"]);
    expect(Object.keys(after).filter((name) => name.startsWith("."))).toEqual([]);
    expect(Object.keys(readScales(example.model))).toHaveLength(EXAMPLE.layers);
    const again = await runMain([example.model, "--in-place", "--data", example.prompts]);
    expect(again).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("--force") as string });
    expect(snapshot(example.model)).toEqual(after);
    await succeed([example.model, "--in-place", "--force", "--data", example.prompts]);
    expect(Object.keys(snapshot(example.model))).toEqual(Object.keys(after));
    expect(Object.keys(readScales(example.model))).toHaveLength(EXAMPLE.layers);
  });

  test("an earlier result is refused untouched, and replaced with --force", async () => {
    const example = await calibratedExample();
    const before = snapshot(example.root);
    const refused = await runMain(calibrationOf(example, "--format", "vllm"));
    expect(refused).toMatchObject({ exitCode: 2, stdout: "" });
    expect(refused.stderr).toMatch(/^Error: .*output: exists already\. Pass --force/m);
    expect(snapshot(example.root)).toEqual(before);
    await succeed(calibrationOf(example, "--format", "vllm", "--force"));
    expect(Object.keys(scaleValues(example.output))[0]).toBe("model.layers.0.self_attn.k_scale");
    expect(Object.keys(snapshot(example.root)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test.each<[string, (example: ExampleFolder) => readonly string[], RegExp]>([
    ["a folder of somebody else", ({ root }) => [join(root, "mine"), "--force"], /was not written by this program/],
    ["a file", ({ prompts }) => [prompts, "--force"], /is a file/],
    ["the model itself", ({ model }) => [model, "--force"], /is the model's own folder/],
  ])("%s is refused and left as it is", async (_name, output, message) => {
    const example = makeExample(temporaryFolder());
    mkdirSync(join(example.root, "mine"));
    writeFileSync(join(example.root, "mine/thesis.txt"), "the only copy");
    const before = snapshot(example.root);
    const result = await runMain([example.model, "--data", example.prompts, "-o", ...output(example)]);
    expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(message) as string });
    expect(snapshot(example.root)).toEqual(before);
  });

  test("a folder that cannot be made: exit 7", async () => {
    const example = makeExample(temporaryFolder());
    const result = await runMain(calibrationOf({ ...example, output: join(example.prompts, "output") }));
    expect(result).toMatchObject({ exitCode: 7, stderr: expect.stringMatching(/could not be written/) as string });
  });

  const embedded = join(REPOSITORY, "examples/tiny-llama/config.json");
  test.skipIf(!existsSync(embedded))(
    "--example calibrates the embedded example (skipped while examples/tiny-llama is not made)",
    async () => {
      const cwd = temporaryFolder();
      const { stdout } = await succeed(["--example", "--samples", "4", "--quiet"], (args) => runCli(args, { cwd }));
      expect(stdout).toBe(`${join(cwd, "tiny-llama-FP8-KV")}\n`);
      expect(Object.keys(readScales(join(cwd, "tiny-llama-FP8-KV"))).length).toBeGreaterThan(0);
    },
  );
});

describe("the prompts", () => {
  test("a folder of .txt, text, and prompt + completion gives what the same prompts in one .txt give", async () => {
    const example = makeExample(temporaryFolder());
    const lines = ["What is a cache?", "A place to keep what is needed again.", "Salt."] as const;
    const folder = join(example.root, "folder");
    mkdirSync(folder);
    writeFileSync(join(folder, "a.txt"), `${lines[0]}\r\n\r\n`);
    writePrompts(example, "folder/b.jsonl", [{ text: lines[1], id: 1 }]);
    writePrompts(example, "folder/c.jsonl", [{ prompt: "Sa", completion: "lt." }]);
    writeFileSync(join(folder, "README.md"), "not a prompt");
    expect(await recordOfData(example, folder)).toEqual(
      await recordOfData(example, writePrompts(example, "all.txt", lines)),
    );
  });

  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "What is salt?" },
    { role: "assistant", content: "NaCl." },
  ];
  const TEMPLATES: readonly [name: string, files: Record<string, string>, text: string][] = [
    ["as a transcript without a chat template", {}, "System: Be brief.\n\nUser: What is salt?\n\nAssistant: NaCl."],
    [
      "through chat_template.jinja",
      { "chat_template.jinja": "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}" },
      "[system]Be brief.[user]What is salt?[assistant]NaCl.",
    ],
  ];

  test.each(TEMPLATES)("messages are given %s", async (_name, files, text) => {
    const example = makeExample(temporaryFolder());
    for (const [name, content] of Object.entries(files)) writeFileSync(join(example.model, name), content);
    const halves = { prompt: messages.slice(0, 2), completion: messages.slice(2) };
    const chat = writePrompts(example, "chat.jsonl", [{ messages }, halves]);
    const plain = writePrompts(example, "plain.jsonl", [{ text }, { text }]);
    expect(await recordOfData(example, chat)).toEqual(await recordOfData(example, plain));
  });

  test("--samples limits their number, --sequence-length their tokens, and the report says so", async () => {
    const example = makeExample(temporaryFolder());
    const { stdout } = await succeed(calibrationOf(example, "--samples", "3", "--sequence-length", "1"));
    expect(stdout).toContain("3 prompts · 3 tokens");
    expect(stdout).toMatch(/\d prompts? w(as|ere) cut to 1 token \(/);
  });

  test("--seed chooses among them: the same seed gives the same bytes, another seed other prompts", async () => {
    const example = makeExample(temporaryFolder());
    const records = [];
    for (const [index, seed] of ["1", "1", "2"].entries()) {
      const run = { ...example, output: join(example.root, `output-${index}`) };
      await succeed(calibrationOf(run, "--samples", "3", "--seed", seed));
      records.push(snapshot(run.output)["model-00002-of-00002.safetensors"]);
    }
    expect(records[1]).toBe(records[0]);
    expect(records[2]).not.toBe(records[0]);
  });

  test("--headroom multiplies every scale", async () => {
    const example = await calibratedExample();
    const plain = Object.entries(scaleValues(example.output));
    await succeed(calibrationOf(example, "--force", "--headroom", "1.1"));
    const raised = scaleValues(example.output);
    for (const [name, scale] of plain) expect((raised[name] ?? 0) / scale).toBeCloseTo(1.1, 6);
  });
});

describe("usage", () => {
  const MODEL = "model";
  const WRONG: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [["--frobnicate"], /unknown option '--frobnicate'/],
    [[MODEL, "another"], /too many arguments/],
    [[""], /argument 'model'.*found nothing/],
    [[MODEL, "-o", ""], /--output <folder>.*found nothing/],
    [[MODEL, "--data", " "], /--data <path>.*found nothing/],
    [[MODEL, "-o"], /argument missing/],
    [[MODEL, "--format", "gguf"], /Allowed choices are tgi, tgi-separate, vllm/],
    [[MODEL, "--format", "TGI"], /Allowed choices/],
    [[MODEL, "--dtype", "float8_e5m2"], /Allowed choices are float8_e4m3fn, float8_e4m3fnuz/],
    [[MODEL, "--provider", "abacus"], /Allowed choices are auto, cuda/],
    [[MODEL, "--format", "vllm", "--dtype", "float8_e4m3fnuz"], /^Error: Format vllm has no float8_e4m3fnuz/m],
    [[MODEL, "--json", "--quiet"], /^Error: Choose one of --json and --quiet/m],
    [[MODEL, "--in-place", "-o", "x"], /^Error: Choose one of --in-place and an output folder/m],
    [[MODEL, "--revision", "main"], /^Error: --revision goes with a hub id/m],
    ...["0", "-1", "1.5", "1e3", "many", "", "99999999999999999999"].flatMap((value) =>
      ["--samples", "--sequence-length"].map(
        (option) => [[MODEL, option, value], /Expected a whole number from 1/] as const,
      ),
    ),
    ...["0", "0.99", "-1", "17", "NaN", "Infinity", "", " ", "1,1", "1x"].map(
      (value) => [[MODEL, "--headroom", value], /Expected a number from 1 to 16/] as const,
    ),
    ...["-1", "0.5", "4294967296", "x", ""].map((value) => [[MODEL, "--seed", value], /Expected an integer/] as const),
    ...["0", "-1GiB", "4 apples", "", "GiB"].map((value) => [[MODEL, "--memory", value], /Expected a size/] as const),
  ];

  test.each(WRONG)("%j: exit 2", async (args, message) => {
    const { root } = makeExample(temporaryFolder());
    const before = snapshot(root);
    const cwd = process.cwd();
    process.chdir(root);
    const result = await runMain(args).finally(() => process.chdir(cwd));
    const stdout = args.includes("--json") ? expect.stringContaining('"kind": "UsageError"') : "";
    expect(result).toMatchObject({ exitCode: 2, stdout });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toContain("    at ");
    expect(snapshot(root)).toEqual(before);
  });

  test("an unknown option ends the program itself with exit 2 and a hint", async () => {
    const { exitCode, stderr } = await runCli(["--frobnicate"]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("--help");
  });

  test("--help names every option, choice and exit code on stdout, exit 0", async () => {
    const { stdout, stderr } = await succeed(["--help"]);
    const words = [...Object.keys(SCALES_OF_FORMAT), ...DTYPES, "--in-place", "--force", "--headroom", "interrupted"];
    for (const word of words) expect(stdout).toContain(word);
    expect(stderr).toBe("");
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  test("--version prints the version of the package, exit 0", async () => {
    const { version } = json(join(REPOSITORY, "package.json")) as { version: string };
    expect(await succeed(["--version"], runCli)).toMatchObject({ stdout: `${version}\n`, stderr: "" });
  });
});
