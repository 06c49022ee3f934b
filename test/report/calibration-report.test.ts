// The report fits a terminal of 80 columns, names the right scales, and its commands can be pasted into a shell.

import { execFileSync } from "node:child_process";
import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { OUTPUT_FORMATS, type OutputFormat, type OutputFormatName } from "../../src/checkpoint/output-formats.js";
import type { Float8Name } from "../../src/numerics/float8.js";
import type { LayerForecast } from "../../src/numerics/layer-levels.js";
import type { LayerRange, SideRange } from "../../src/numerics/ranges.js";
import { computeLayerScales } from "../../src/numerics/scales.js";
import type { ServingLevel } from "../../src/numerics/serving-levels.js";
import type { CalibrationResult } from "../../src/pipeline/calibration-result.js";
import { warningsOf } from "../../src/pipeline/warnings.js";
import { calibrationJson, calibrationReport } from "../../src/report/calibration-report.js";
import type { Screen } from "../../src/report/screen.js";

const FORMATS = Object.keys(OUTPUT_FORMATS) as OutputFormatName[];
const PLAIN: Screen = { colors: pc.createColors(false), width: 80 };
const COLORED: Screen = { colors: pc.createColors(true), width: 80 };
const ESCAPE = "\u001B";
/** Every kind of number the columns must hold: silent, tiny, usual, beyond E4M3, huge. */
const ABSMAXES: [k: number, v: number][] = [
  [12.25, 0],
  [1e-9, 3.5],
  [449, 448],
  [99999.94, 0.5],
  [3.4e38, 1e-38],
  [0, 0],
];

function rangesOf(absmaxes: readonly (readonly [k: number, v: number])[]): LayerRange[] {
  const side = (absmax: number) => ({ absmax, perHead: [absmax, absmax / 2], perPrompt: [absmax, absmax / 4] });
  return absmaxes.map(([k, v], layer) => ({ layer, k: side(k), v: side(v) }));
}

/** Levels of all sides, as a factor on the absmax. */
function levelsOf(ranges: readonly LayerRange[], factor: number): LayerForecast {
  const level = ({ absmax }: SideRange): ServingLevel => {
    const interval = [absmax, 2 * absmax] as const;
    return { measured: absmax, level: factor * absmax, interval, exceeding: 0.5 };
  };
  const layers = ranges.map(({ layer, k, v }) => ({ layer, k: level(k), v: level(v) }));
  return { kind: "levels", layers, shape: -0.05 };
}

function resultOf(
  changes: Partial<CalibrationResult> = {},
  absmaxes: readonly (readonly [number, number])[] = ABSMAXES,
): CalibrationResult {
  const ranges = rangesOf(absmaxes);
  const { format = "tgi", dtype = "float8_e4m3fn" } = changes;
  const scales = ranges.map(({ layer, k, v }) => computeLayerScales(layer, { k: k.absmax, v: v.absmax }, dtype, 1));
  const warnings = warningsOf({
    ranges,
    scales,
    experts: [],
    format,
    headroom: 1,
    rounds: undefined,
    tokens: [3, 1],
    truncatedPrompts: 12,
    sequenceLength: 2048,
    notMeasured: [],
  });
  return {
    output: "/models/Llama-FP8-KV",
    inPlace: false,
    engines: OUTPUT_FORMATS[format].engines,
    modelType: "llama",
    format,
    dtype,
    headroom: 1,
    serving: { tokens: 1_000_000, exceedance: 0.05 },
    forecast: levelsOf(ranges, 1.25),
    provider: "cpu",
    computedIn: "float32",
    samples: 256,
    tokens: 524288,
    timing: { openSeconds: 0.12345, computeSeconds: 1 },
    placement: "hard link",
    ranges,
    scales,
    experts: [],
    notMeasured: [],
    warnings,
    ...changes,
  };
}

function linesOf(result: CalibrationResult, width = 80): string[] {
  return calibrationReport(result, { ...PLAIN, width }, 12.34).split("\n");
}

/** The text of a report with the lines joined that a shell would join. */
function unbroken(lines: readonly string[]): string {
  return lines.join("\n").replaceAll(/ \\\n +/g, " ");
}

describe("for engines that do not read the format", () => {
  test("a report ends with the command that converts the result", () => {
    const lines = linesOf(resultOf({ convertTo: "vllm" }));
    expect(lines.slice(-4)).toEqual([
      "",
      "For vLLM, SGLang, Text Generation Inference 3:",
      "  create-kv-scales convert /models/Llama-FP8-KV --format vllm",
      "",
    ]);
  });

  test("there is none where nothing is to be converted", () => {
    expect(linesOf(resultOf()).join("\n")).not.toContain("create-kv-scales convert");
  });
});

const VARIANTS = FORMATS.flatMap((format) => {
  const { dtypes }: OutputFormat = OUTPUT_FORMATS[format];
  return dtypes.map((dtype): [OutputFormatName, Float8Name] => [format, dtype]);
});

describe.each(VARIANTS)("for %s with %s", (format, dtype) => {
  const result = resultOf({ format, dtype });
  const lines = linesOf(result);

  test.each([40, 50, 80, 120])("no line is wider than %d columns", (width) => {
    const wide = linesOf(result, width).filter((line) => line.length > width);
    expect(result.warnings.length).toBeGreaterThan(2);
    expect(wide).toEqual([]);
  });

  test.each([40, 50, 80, 120])("commands on %d columns are broken between options, never before a value", (width) => {
    const broken = linesOf(result, width).filter((line) => line.endsWith(" \\"));
    expect(broken.filter((line) => / --?[a-z][\w-]* \\$/.test(line))).toEqual([]);
    if (width === 40) expect(broken).not.toEqual([]);
  });

  test("the columns of the table lie below their titles", () => {
    const [title = "", ...rows] = lines.slice(0, 1 + result.ranges.length);
    const ends = [...title.matchAll(/K absmax|K level|V absmax|V level|k_scale|v_scale|kv_scale/g)].map(
      ({ index, 0: text }) => index + text.length,
    );
    expect(ends).toHaveLength(OUTPUT_FORMATS[format].sharesScale ? 5 : 6);
    for (const row of rows) {
      for (const end of ends) expect(row.slice(end - 1, end + 1), row).toMatch(/^\d ?$/);
    }
  });

  test("every engine that reads the format has its name and its command", () => {
    const { engines }: OutputFormat = OUTPUT_FORMATS[format];
    for (const { name, command } of engines) {
      expect(lines).toContain(`${name}:`);
      expect(unbroken(lines)).toContain(`  ${command.replace("FOLDER", "/models/Llama-FP8-KV")}`);
    }
  });

  test("every warning is there, whole", () => {
    const text = lines.map((line) => line.trim()).join(" ");
    for (const warning of result.warnings) expect(text).toContain(`Warning: ${warning}`);
  });

  test("colours change nothing but the colours, and none are written when they are off", () => {
    const plain = calibrationReport(result, PLAIN, 1);
    const colored = calibrationReport(result, COLORED, 1);
    expect(plain).not.toContain(ESCAPE);
    expect(colored).toContain(ESCAPE);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the escapes that are looked for.
    expect(colored.replaceAll(/\u001B\[\d+m/g, "")).toBe(plain);
  });
});

test("the shared scale is shown where the format stores one, both where it stores two", () => {
  const scales = [{ layer: 0, kScale: 0.25, vScale: 0.125, kvScale: 0.5 }];
  const row = (format: OutputFormatName) => linesOf(resultOf({ format, scales }, [[112, 56]]))[1];
  expect(row("tgi")).toMatch(/ 0\.50000$/);
  expect(row("tgi-separate")).toMatch(/ 0\.25000 +0\.12500$/);
  expect(row("vllm")).toMatch(/ 0\.25000 +0\.12500$/);
});

test.each<[string, number, boolean]>([
  ["beyond the range at scale 1.0 is red", 449, true],
  ["within it is not", 448, false],
])("an absmax %s", (_rule, absmax, red) => {
  const report = calibrationReport(resultOf({ warnings: [] }, [[absmax, 1]]), COLORED, 1);
  expect(report.includes(`${ESCAPE}[31m`)).toBe(red);
});

test("a model without any value has empty bars", () => {
  expect(linesOf(resultOf({}, [[0, 0]]))[1]).toMatch(/^ +0 +0\.0000 +0\.0000 +0\.0000 +0\.0000 +1\.0000$/);
});

test.each<[string, Partial<CalibrationResult>, string]>([
  ["hard links", { placement: "hard link" }, "weights by hard link"],
  ["a copy", { placement: "copy" }, "weights copied"],
  ["a result in place", { inPlace: true, placement: undefined }, "added in place"],
])("the report says how the weights came there: %s", (_rule, changes, text) => {
  expect(linesOf(resultOf(changes)).join("\n")).toContain(`tgi, float8_e4m3fn, ${text}`);
});

describe.each([
  "/models/plain_name-1.0",
  "/a folder/x",
  "/it's/x",
  "/cash$$/$&/$HOME",
  '/`date`/"x"',
  "/tmp/FOLDER",
  `/${"long folder ".repeat(12)}/x`,
])("for the folder %s", (output) => {
  test("commands can be pasted into a shell", () => {
    const command = /text-generation-launcher(?:.*\\\n)*.*/.exec(linesOf(resultOf({ output })).join("\n"))?.[0] ?? "";
    const pasted = command.replace("text-generation-launcher", "printf '%s\\n'");
    const words = execFileSync("sh", ["-c", pasted], { encoding: "utf8" }).trimEnd().split("\n");
    expect(words).toEqual(["--model-id", output, "--kv-cache-dtype", "fp8_e4m3fn"]);
  });

  test("the JSON has it as it is", () => {
    const { engines } = JSON.parse(calibrationJson(resultOf({ output }), 1)) as { engines: { command: string }[] };
    expect(engines[0]?.command).toBe(`text-generation-launcher --model-id ${output} --kv-cache-dtype fp8_e4m3fn`);
  });
});

describe("the JSON", () => {
  const result = resultOf({ format: "vllm", placement: undefined });
  const json = JSON.parse(calibrationJson(result, 1.23456)) as Record<string, unknown>;

  test("has keys that stay as they are", () => {
    expect(Object.keys(json)).toEqual([
      "schema_version",
      "output",
      "in_place",
      "model_type",
      "format",
      "dtype",
      "headroom",
      "serving_tokens",
      "exceedance",
      "level_shape",
      "provider",
      "computed_in",
      "samples",
      "tokens",
      "seconds",
      "timing",
      "placement",
      "engines",
      "warnings",
      "layers",
    ]);
    expect(json.timing).toEqual({ open_seconds: 0.123, compute_seconds: 1 });
    expect(json).toMatchObject({ seconds: 1.235, placement: null, warnings: result.warnings, in_place: false });
  });

  test("gives every layer its absmax, levels and scales exactly", () => {
    expect(json.layers).toEqual(
      result.ranges.map(({ layer, k, v }, index) => ({
        layer,
        k_absmax: k.absmax,
        v_absmax: v.absmax,
        k_scale: result.scales[index]?.kScale,
        v_scale: result.scales[index]?.vScale,
        kv_scale: result.scales[index]?.kvScale,
        k_level: 1.25 * k.absmax,
        k_level_interval: [k.absmax, 2 * k.absmax],
        k_exceeding: 0.5,
        v_level: 1.25 * v.absmax,
        v_level_interval: [v.absmax, 2 * v.absmax],
        v_exceeding: 0.5,
        k_absmax_per_head: k.perHead,
        v_absmax_per_head: v.perHead,
      })),
    );
  });

  test("is one document that ends with a line break", () => {
    expect(calibrationJson(result, 1)).toMatch(/^\{\n[\s\S]+\n\}\n$/);
  });
});

test.each([
  [[0, 1], "2 layers ·"],
  [[1, 3], "2 layers with attention ·"],
  [[0, 2], "2 layers with attention ·"],
])("of layers %j, the summary says %s", (layers, said) => {
  const ranges = rangesOf([
    [1, 2],
    [3, 4],
  ]).map((range, index) => ({ ...range, layer: layers[index] ?? 0 }));
  expect(linesOf(resultOf({ ranges })).join("\n")).toContain(said);
});

describe("experts", () => {
  const experts = [
    { layer: 1, tokens: [3, 0, 5] },
    { layer: 2, tokens: [4, 4, 0] },
  ];

  test("that computed tokens are a line of the report, and their counts are in the JSON", () => {
    expect(linesOf(resultOf({ experts }))).toContain("4 of 6 experts in 2 layers computed tokens of the prompts");
    expect(JSON.parse(calibrationJson(resultOf({ experts }), 1))).toMatchObject({ experts });
  });

  test("are not spoken of where a model has none", () => {
    expect(calibrationReport(resultOf(), PLAIN, 1)).not.toContain("experts");
    expect(JSON.parse(calibrationJson(resultOf(), 1))).not.toHaveProperty("experts");
  });
});

describe("what serving is expected to exceed", () => {
  const LAYERS = [
    [100, 50],
    [10, 4],
  ] as const;
  const RANGES = rangesOf(LAYERS);
  const sentenceOf = (changes: Partial<CalibrationResult>, width = 1000) =>
    linesOf(resultOf(changes, LAYERS), width).find((line) => /^(Serving|Too little)/.test(line));

  test.each<[string, Partial<CalibrationResult>, string]>([
    [
      "counts each side where each has a scale",
      { format: "vllm" },
      "Serving 1,000,000 tokens exceeds the range of 4 of 4 K and V with a probability above 5 %, by up to 25 %; --headroom auto would write 1.25 × the absmax on median.",
    ],
    [
      "counts no V that the scale of its K holds",
      { format: "tgi" },
      "Serving 1,000,000 tokens exceeds the range of 2 of 4 K and V with a probability above 5 %, by up to 25 %; --headroom auto would write 1.25 × the absmax on median.",
    ],
    [
      "is none where the scales have room",
      {
        format: "vllm",
        scales: RANGES.map(({ layer, k, v }) =>
          computeLayerScales(layer, { k: k.absmax, v: v.absmax }, "float8_e4m3fn", 1.3),
        ),
      },
      "Serving 1,000,000 tokens exceeds the range of none of 4 K and V with a probability above 5 %.",
    ],
    [
      "is told for what was asked",
      { serving: { tokens: 2000, exceedance: 0.001 }, forecast: levelsOf(RANGES, 1) },
      "Serving 2,000 tokens exceeds the range of none of 4 K and V with a probability above 0.1 %.",
    ],
    [
      "with headroom auto is what scales are for",
      { headroom: "auto" },
      "Serving 1,000,000 tokens exceeds each level with a probability of 5 %: scales are for these, 1.25 × the absmax on median.",
    ],
    [
      "with headroom auto says where the limit is too low",
      { headroom: "auto", forecast: levelsOf(RANGES, 2) },
      "Serving 1,000,000 tokens exceeds each level with a probability of 5 %: scales are for these, 2.00 × the absmax on median; 4 of 4 K and V need more than the limit of 2 ×.",
    ],
    [
      "is not told from too little text",
      { forecast: { kind: "too-few", why: "expected 24 prompts or more, found 1" } },
      "Too little text to tell what serving exceeds: expected 24 prompts or more, found 1.",
    ],
  ])("%s", (_rule, changes, sentence) => {
    expect(sentenceOf(changes)).toBe(sentence);
  });

  test("without levels, the table has no column for them", () => {
    const forecast = { kind: "too-few", why: "" } as const;
    expect(linesOf(resultOf({ forecast }))[0]).not.toContain("level");
  });

  test.each<[string, Partial<CalibrationResult>, boolean]>([
    ["says that it stopped", { samples: 48, rounds: { of: 175, isEnough: true } }, true],
    ["does not say that it stopped at the end", { samples: 175, rounds: { of: 175, isEnough: true } }, false],
    [
      "does not say that it stopped where nothing stopped it",
      { samples: 175, rounds: { of: 175, isEnough: false } },
      false,
    ],
    ["says nothing without rounds", {}, false],
  ])("a run in rounds %s", (_rule, changes, says) => {
    const sentence = "Stopped after 48 of 175 prompts: more would change no level that matters.";
    expect(linesOf(resultOf(changes)).join(" ").includes(sentence)).toBe(says);
  });
});
