// `inspect`, `convert` and `diff`, end to end: the built program on the example and on layouts of it, good and bad.

import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ENGINE_NAMES } from "../../src/checkpoint/engine-names.js";
import { buildLayout, LAYOUTS, type LayoutName } from "../checkpoint/scale-layouts.js";
import { calibratedExample } from "../helpers/calibrated-example.js";
import { calibrationOf, INDEX_FILE, makeExample } from "../helpers/example-checkpoint.js";
import { runCli, runMain } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

type Json = Record<string, unknown>;

function json(path: string): Json {
  return JSON.parse(readFileSync(path, "utf8")) as Json;
}

function layoutAt(layout: LayoutName): string {
  return buildLayout(LAYOUTS[layout], join(temporaryFolder(), "checkpoint"));
}

describe("inspect", () => {
  test("passes what this program writes, and changes nothing", async () => {
    const { output } = await calibratedExample("--format", "vllm");
    const before = snapshot(output);
    const { exitCode, stdout, stderr } = await runCli(["inspect", output]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(/^vLLM +used +reads k_scale and v_scale$/m);
    expect(stdout).not.toContain("Problem");
    expect(snapshot(output)).toEqual(before);
  });

  test.each(["tgi", "tgi-separate", "vllm"])("finds no problem with --format %s", async (format) => {
    const { output } = await calibratedExample("--format", format);
    expect(await runMain(["inspect", output])).toMatchObject({ exitCode: 0 });
  });

  test("says of a checkpoint without scales that engines run at 1.0, and passes it", async () => {
    const { exitCode, stdout } = await runMain(["inspect", layoutAt("no scales")]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain("No KV scales: engines run an FP8 cache at 1.0.");
  });

  test("prints the report and fails with exit code 3 when something is wrong", async () => {
    const { exitCode, stdout, stderr } = await runMain(["inspect", layoutAt("a layer without scales, block")]);
    expect(exitCode).toBe(3);
    expect(stdout).toContain("Problem: Layer 2 has no scale");
    expect(stderr).toMatch(/^Error: .*1 problem with the KV scales.*missing-layer.*\n$/);
  });

  test("says the same in JSON, with numbers that JSON does not have as texts", async () => {
    const { exitCode, stdout } = await runMain(["inspect", "--json", layoutAt("k and v NaN, block")]);
    expect(exitCode).toBe(3);
    const { layers, engines, problems } = JSON.parse(stdout) as {
      layers: { layer: number; scales: Json[] }[];
      engines: Json[];
      problems: Json[];
    };
    expect(layers[0]).toEqual({
      layer: 0,
      name: "model.layers.0.self_attn",
      scales: ["k_scale", "v_scale"].map((kind) => ({
        name: `model.layers.0.self_attn.${kind}`,
        dtype: "F32",
        shape: [1],
        file: "model-kv-scales.safetensors",
        values: ["NaN"],
      })),
    });
    expect(engines.map(({ engine }) => engine)).toEqual(ENGINE_NAMES);
    expect(problems).toMatchObject([{ kind: "not-positive" }]);
  });

  test("needs no known architecture", async () => {
    const folder = layoutAt("k and v [1], block");
    const config = json(join(folder, "config.json"));
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, model_type: "not-yet-invented" }));
    expect(await runMain(["inspect", folder])).toMatchObject({ exitCode: 0 });
  });

  test("reports a kv_scales.json that tells of other scales", async () => {
    const { output } = await calibratedExample("--format", "tgi");
    const path = join(output, "kv_scales.json");
    const record = json(path) as { layers: { kv_scale: number }[] };
    writeFileSync(path, JSON.stringify({ ...record, layers: record.layers.map((l) => ({ ...l, kv_scale: 2 })) }));
    const { exitCode, stdout } = await runMain(["inspect", "--json", output]);
    expect(exitCode).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ problems: [{ kind: "record-contradicts-scales" }] });
  });

  test("reports scales that no engine uses", async () => {
    const { stdout } = await runMain(["inspect", "--json", layoutAt("k_proj.k_scale and v_proj.v_scale, no block")]);
    expect(JSON.parse(stdout)).toMatchObject({ problems: [{ kind: "no-engine" }] });
  });

  test("--engine passes what the engine uses, and fails with exit code 3 on anything else, after the report", async () => {
    const [vllm, tgi] = [layoutAt("k and v [1], block"), layoutAt("kv [] and dtype, no block")];
    expect(await runMain(["inspect", "--engine", "vllm", vllm])).toMatchObject({ exitCode: 0, stderr: "" });
    for (const [engine, folder, says] of [
      ["vllm", tgi, /: vLLM refuses the checkpoint: .*create-kv-scales convert/],
      ["tgi-documented", vllm, /: TGI, documented format does not use the KV scales: it reads kv_scale/],
      ["vllm", layoutAt("no scales"), /: vLLM finds no KV scales/],
      ["trtllm", vllm, /: TensorRT-LLM does not use the KV scales: it reads k_proj\.k_scale/],
    ] as const) {
      const { exitCode, stdout, stderr } = await runMain(["inspect", "--engine", engine, folder]);
      expect(exitCode).toBe(3);
      expect(stdout).toContain("TGI 2.4 and later");
      expect(stderr).toMatch(says);
    }
    expect(await runMain(["inspect", "--engine", "vlm", vllm])).toMatchObject({ exitCode: 2 });
  });

  test("says what becomes of the scales on AMD MI300", async () => {
    const { stdout } = await runMain(["inspect", layoutAt("k and v [1], block")]);
    expect(stdout.replaceAll(/\s+/g, " ")).toContain(
      "On AMD MI300 (E4M3FNUZ) scales stay as they are, too small by half, in vLLM; scales are doubled in SGLang since Aug 2026.",
    );
  });

  test.each([
    ["a folder that is not there", () => join(temporaryFolder(), "none")],
    ["a folder without weights", () => temporaryFolder()],
  ])("fails on %s in one line", async (_, folder) => {
    const { exitCode, stdout, stderr } = await runMain(["inspect", folder()]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: "" });
    expect(stderr).toMatch(/^Error: [^\n]+\n$/);
  });
});

/** What converting must give: the calibration with these options. */
const CONVERSIONS: readonly (readonly [from: readonly string[], to: readonly string[]])[] = [
  [
    ["--format", "tgi"],
    ["--format", "vllm"],
  ],
  [
    ["--format", "tgi"],
    ["--format", "tgi-separate"],
  ],
  [
    ["--format", "vllm"],
    ["--format", "tgi"],
  ],
  [
    ["--format", "vllm", "--headroom", "1.3"],
    ["--format", "tgi", "--dtype", "float8_e4m3fnuz"],
  ],
  [
    ["--format", "tgi", "--dtype", "float8_e4m3fnuz"],
    ["--format", "vllm"],
  ],
];

describe("convert", () => {
  test.each(CONVERSIONS)("of %j to %j gives, byte for byte, what calibrating would have given", async (from, to) => {
    const example = await calibratedExample(...from);
    const headroom = from.includes("--headroom")
      ? from.slice(from.indexOf("--headroom"), from.indexOf("--headroom") + 2)
      : [];
    const fresh = await calibratedExample(...to, ...headroom);
    const converted = join(example.root, "converted");
    expect(await runMain(["convert", example.output, "-o", converted, "--quiet", ...to])).toMatchObject({
      exitCode: 0,
      stdout: `${converted}\n`,
    });
    expect(snapshot(converted)).toEqual(snapshot(fresh.output));
  });

  test("links the weights, and leaves the old scales behind", async () => {
    const example = makeExample(temporaryFolder(), 2);
    await runMain(calibrationOf(example, "--quiet"));
    const converted = join(example.root, "converted");
    await runMain(["convert", example.output, "-o", converted, "--format", "vllm"]);
    const weights = "model-00001-of-00002.safetensors";
    expect(statSync(join(converted, weights)).ino).toBe(statSync(join(example.model, weights)).ino);
    const { weight_map: map } = json(join(converted, INDEX_FILE)) as { weight_map: Record<string, string> };
    const files = readdirSync(converted).filter((name) => name.endsWith(".safetensors"));
    expect([...new Set(Object.values(map))].sort()).toEqual(files.sort());
    expect(Object.keys(map).filter((name) => name.endsWith(".kv_scale"))).toEqual([]);
  });

  test("without a record doubles E4M3FN scales for E4M3FNUZ, and gives kv_scale to both sides with a warning", async () => {
    const { root, output } = await calibratedExample("--format", "tgi");
    const { layers } = json(join(output, "kv_scales.json")) as { layers: { kv_scale: number }[] };
    rmSync(join(output, "kv_scales.json"));
    const options = ["--format", "tgi-separate", "--dtype", "float8_e4m3fnuz", "--json"];
    const { stdout } = await runMain(["convert", output, "-o", join(root, "converted"), ...options]);
    const doubled = layers.map(({ kv_scale: scale }, layer) => {
      return { layer, k_scale: 2 * scale, v_scale: 2 * scale, kv_scale: 2 * scale };
    });
    expect(JSON.parse(stdout)).toMatchObject({
      source: "kv_scale",
      from_dtype: "float8_e4m3fn",
      dtype: "float8_e4m3fnuz",
      warnings: [expect.stringContaining("Only kv_scale is known")],
      layers: doubled,
    });
  });

  test("with a record of other scales converts the tensors, and says so", async () => {
    const { root, output } = await calibratedExample("--format", "vllm");
    const path = join(output, "kv_scales.json");
    const record = json(path) as { layers: Json[] };
    writeFileSync(path, JSON.stringify({ ...record, layers: record.layers.map((l) => ({ ...l, k_absmax: 1000 })) }));
    const { stdout } = await runMain(["convert", output, "-o", join(root, "c"), "--format", "tgi", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({
      source: "k_scale, v_scale",
      warnings: [expect.stringContaining("kv_scales.json does not match")],
    });
  });

  test("in place needs --force, and then gives what a new folder would hold", async () => {
    const { root, output } = await calibratedExample("--format", "tgi");
    const refused = await runMain(["convert", output, "--format", "vllm", "--in-place"]);
    expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("--force") });
    const converted = join(root, "converted");
    await runMain(["convert", output, "--format", "vllm", "-o", converted]);
    await runMain(["convert", output, "--format", "vllm", "--in-place", "--force"]);
    expect(snapshot(output)).toEqual(snapshot(converted));
  });

  test("writes beside the checkpoint, named by the format, unless told where", async () => {
    const { output } = await calibratedExample("--format", "tgi");
    const { stdout } = await runMain(["convert", output, "--format", "vllm", "--quiet"]);
    expect(stdout).toBe(`${output}-vllm\n`);
    expect(existsSync(`${output}-vllm/kv_scales.json`)).toBe(true);
  });

  test.each([
    ["without --format", [], 2, "--format"],
    ["to a dtype that the format has not", ["--format", "vllm", "--dtype", "float8_e4m3fnuz"], 2, "Use float8_e4m3fn"],
    ["both in place and elsewhere", ["--format", "vllm", "--in-place", "-o", "x"], 2, "Choose one of"],
  ])("refuses to convert %s", async (_, options, code, message) => {
    const { output } = await calibratedExample("--format", "tgi");
    const { exitCode, stderr } = await runMain(["convert", output, ...options]);
    expect(exitCode).toBe(code);
    expect(stderr).toContain(message);
  });

  test("refuses a checkpoint without scales", async () => {
    const result = await runMain(["convert", layoutAt("no scales"), "--format", "vllm"]);
    expect(result).toMatchObject({ exitCode: 3, stderr: expect.stringContaining("no KV scales to convert") });
  });
});

describe("diff", () => {
  test("of a checkpoint with more headroom is that headroom, in every layer", async () => {
    const { output } = await calibratedExample("--format", "vllm");
    const { output: wider } = await calibratedExample("--format", "vllm", "--headroom", "2");
    const { exitCode, stdout } = await runMain(["diff", output, wider, "--json"]);
    expect(exitCode).toBe(0);
    const layers = [0, 1, 2].map((layer) => ({ layer, k: 2, v: 2, kv: 2 }));
    expect(JSON.parse(stdout)).toMatchObject({ layers, only_in_a: [], only_in_b: [], largest: { ratio: 2 } });
  });

  test("of the same scales in two dtypes is none, and says that they differ", async () => {
    const { root, output } = await calibratedExample("--format", "tgi");
    const fnuz = join(root, "fnuz");
    await runMain(["convert", output, "-o", fnuz, "--format", "tgi", "--dtype", "float8_e4m3fnuz", "--quiet"]);
    const { exitCode, stdout } = await runMain(["diff", output, fnuz]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain("The dtypes differ");
    expect(stdout).toContain("All scales stand for the same ranges.");
  });

  test("names layers that only one has, and takes kv_scale for both sides, as the engine does", async () => {
    const [a, b] = [layoutAt("a layer without scales, block"), layoutAt("kv [] and dtype, no block")];
    const { stdout } = await runMain(["diff", a, b, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({
      a: { engine: "tgi", scales: ["k_scale", "v_scale"] },
      b: { engine: "tgi", scales: ["kv_scale"] },
      layers: [0, 1, 3, 4, 5].map((layer) => ({ layer, k: 2, v: 4, kv: 2 })),
      only_in_a: [],
      only_in_b: [2],
      largest: { layer: 0, side: "v", ratio: 4 },
      max_ratio: null,
      beyond_max_ratio: null,
    });
  });

  test("--max-ratio passes what is within it, and fails with exit code 6 beyond", async () => {
    const { output } = await calibratedExample("--format", "vllm");
    const { output: wider } = await calibratedExample("--format", "vllm", "--headroom", "1.05");
    const within = await runMain(["diff", output, wider, "--max-ratio", "1.05", "--json"]);
    expect(within.exitCode).toBe(0);
    expect(JSON.parse(within.stdout)).toMatchObject({ max_ratio: 1.05, beyond_max_ratio: [] });
    for (const [a, b] of [
      [output, wider],
      [wider, output],
    ] as const) {
      const beyond = await runMain(["diff", a, b, "--max-ratio", "1.04"]);
      expect(beyond.exitCode).toBe(6);
      expect(beyond.stdout).toContain("Not within 1.04: layers 0–2");
      expect(beyond.stderr).toMatch(/^Error: 3 layers of .* not within 1\.04 times the scales of /);
    }
    const json = await runMain(["diff", output, wider, "--max-ratio", "1.04", "--json"]);
    expect(json.exitCode).toBe(6);
    expect(JSON.parse(json.stdout)).toMatchObject({ max_ratio: 1.04, beyond_max_ratio: [0, 1, 2] });
    expect(await runMain(["diff", output, wider, "--max-ratio", "0.9"])).toMatchObject({ exitCode: 2 });
  });

  test("--engine compares what that engine uses, and refuses what it does not", async () => {
    const [a, b] = [layoutAt("k and v [1], block"), layoutAt("k and v, fp8")];
    const same = await runMain(["diff", a, b, "--engine", "vllm", "--max-ratio", "1"]);
    expect(same).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("as vllm uses them") });
    const tgi = await runMain(["diff", a, layoutAt("kv [] and dtype, no block"), "--engine", "vllm"]);
    expect(tgi).toMatchObject({ exitCode: 3, stderr: expect.stringContaining("vllm does not use its scales") });
  });

  test("refuses a checkpoint without scales", async () => {
    const result = await runMain(["diff", layoutAt("no scales"), layoutAt("k and v [1], block")]);
    expect(result).toMatchObject({ exitCode: 3, stderr: expect.stringContaining("no KV scales to compare") });
  });
});

describe("the main command beside subcommands", () => {
  test("still calibrates a folder, its options before or after", async () => {
    const example = makeExample(temporaryFolder());
    const [model = "", ...options] = calibrationOf(example, "--format", "vllm", "--quiet");
    expect(await runMain([...options, model])).toMatchObject({ exitCode: 0, stdout: `${example.output}\n` });
    const again = await runMain([model, ...options]);
    expect(again).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("output: exists already") });
  });

  test.each(["inspect", "convert", "diff"])("%s has a help of its own", async (command) => {
    const { exitCode, stdout } = await runMain([command, "--help"]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: create-kv-scales ${command} `));
  });
});
