// Every report, made of every hostile text: no character that misleads, no line, cell, attribute or element that is the
// text's own, and no line without an end.

import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { OUTPUT_FORMATS } from "../../src/checkpoint/output-formats.js";
import type { ScaleTensor } from "../../src/checkpoint/read-scales.js";
import type { CalibrationResult } from "../../src/pipeline/calibration-result.js";
import type { Conversion } from "../../src/pipeline/convert.js";
import type { Difference } from "../../src/pipeline/diff.js";
import type { Inspection } from "../../src/pipeline/inspect.js";
import type { ProviderList } from "../../src/pipeline/list-providers.js";
import type { VerifyResult } from "../../src/pipeline/verify-result.js";
import { calibrationJson, calibrationReport } from "../../src/report/calibration-report.js";
import { conversionJson, conversionReport } from "../../src/report/convert-report.js";
import { differenceJson, differenceReport } from "../../src/report/diff-report.js";
import { inspectionJson, inspectionReport } from "../../src/report/inspect-report.js";
import { providersJson, providersReport } from "../../src/report/providers-report.js";
import type { Screen } from "../../src/report/screen.js";
import { verifyHtml } from "../../src/report/verify-html.js";
import { verifyJson } from "../../src/report/verify-json.js";
import { verifyJunit } from "../../src/report/verify-junit.js";
import { verifyMarkdown } from "../../src/report/verify-markdown.js";
import { verifyReport } from "../../src/report/verify-report.js";
import { FAKE_LINE, HOSTILE_TEXTS, misleadingIn } from "./hostile-texts.js";
import { ARMS, continuationOf, generationOf, ORIGIN, resultOf, VERDICTS } from "./verify-fixture.js";

const PLAIN: Screen = { colors: pc.createColors(false), width: 80 };
/** Of a line in a terminal: a command with the longest path, and what stands around it. */
const LONGEST_LINE = 4300;

const SIDE = { absmax: 1, perHead: [1], perPrompt: [1] };
const SCALES = [{ layer: 0, kScale: 1, vScale: 1, kvScale: 1 }];

function calibrationOf(text: string): CalibrationResult {
  return {
    ...{ output: text, inPlace: false, modelType: text, format: "tgi", dtype: "float8_e4m3fn", headroom: 1 },
    ...{
      provider: "cpu",
      computedIn: "float32",
      samples: 1,
      tokens: 1,
      placement: "copy",
      notMeasured: [],
      warnings: [text],
    },
    ...{
      timing: { openSeconds: 1, computeSeconds: 1 },
      ranges: [{ layer: 0, k: SIDE, v: SIDE }],
      scales: SCALES,
      experts: [],
      serving: { tokens: 1, exceedance: 0.05 },
      forecast: { kind: "too-few", why: text },
      onto: text,
      engines: OUTPUT_FORMATS.tgi.engines,
    },
  };
}

function conversionOf(text: string): Conversion {
  return {
    ...{ output: text, inPlace: false, onto: text, source: "kv_scale", fromDtype: "float8_e4m3fn", format: "vllm" },
    ...{ dtype: "float8_e4m3fn", placement: "copy", scales: SCALES, warnings: [text] },
  };
}

function differenceOf(text: string): Difference {
  const side = { folder: text, dtype: "float8_e4m3fn", kinds: ["kv_scale"] } as const;
  const layers = [{ layer: 0, k: undefined, v: undefined, kv: 1.5 }];
  return { a: side, b: side, layers, onlyInA: [], onlyInB: [], largest: undefined };
}

function inspectionOf(text: string): Inspection {
  const scale: ScaleTensor = {
    ...{ name: text, file: text, dtype: text, shape: [1], values: undefined, attention: text, layer: 0 },
    kind: "k_scale",
    form: "attention",
  };
  return {
    ...{ folder: text, modelType: text, quantization: text, kvCacheDtype: text, strayScales: [scale] },
    layers: [{ layer: 0, name: text, scales: [scale] }],
    engines: [{ engine: "vllm", name: "vLLM", use: "used", why: text, layers: undefined }],
    problems: [{ kind: "no-engine", message: text }],
  };
}

function providersOf(text: string): ProviderList {
  return {
    providers: [
      {
        ...{ provider: "cuda", description: text, usable: false, computesIn: undefined, deviation: undefined },
        ...{ obstacle: { what: text, command: [text] }, remarks: [text], isAutomatic: false },
      },
    ],
    devices: [{ index: 0, uuid: text, name: text, driver: text, totalBytes: 1, freeBytes: 1 }],
  };
}

function verificationOf(text: string): VerifyResult {
  return resultOf({
    ...{ checkpoint: text, modelType: text, warnings: [text] },
    arms: ARMS.map((arm) => ({ ...arm, description: text })),
    verdict: { ...VERDICTS["too-costly"], sentence: text, reasons: [text] },
    generation: generationOf({ prompt: text, bits16: continuationOf(text), fp8: continuationOf("y"), partsAt: 1 }),
  });
}

const TERMINAL: Readonly<Record<string, (text: string) => string>> = {
  calibration: (text) => calibrationReport(calibrationOf(text), PLAIN, 1),
  conversion: (text) => conversionReport(conversionOf(text), PLAIN),
  difference: (text) => differenceReport(differenceOf(text), PLAIN),
  inspection: (text) => inspectionReport(inspectionOf(text), PLAIN),
  providers: (text) => providersReport(providersOf(text), PLAIN),
  verification: (text) => verifyReport(verificationOf(text), PLAIN, 1),
};
const JSONS: Readonly<Record<string, (text: string) => string>> = {
  calibration: (text) => calibrationJson(calibrationOf(text), 1),
  conversion: (text) => conversionJson(conversionOf(text)),
  difference: (text) => differenceJson(differenceOf(text)),
  inspection: (text) => inspectionJson(inspectionOf(text)),
  providers: (text) => providersJson(providersOf(text)),
  verification: (text) => verifyJson(verificationOf(text), 1),
};
const TEXTS = Object.entries(HOSTILE_TEXTS);

describe.each(Object.entries(TERMINAL))("the report of a %s in a terminal", (_name, reportOf) => {
  test.each(TEXTS)("shows a text that %s", (_what, text) => {
    const report = reportOf(text);
    expect(misleadingIn(report)).toEqual([]);
    const lines = report.split("\n");
    expect(lines.filter((line) => line.startsWith(FAKE_LINE))).toEqual([]);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(LONGEST_LINE);
  });
});

describe.each(Object.entries(JSONS))("the JSON of a %s", (_name, jsonOf) => {
  test.each(TEXTS)("has the whole of a text that %s, with escapes", (_what, text) => {
    const json = jsonOf(text);
    expect(misleadingIn(json)).toEqual([]);
    expect(textsIn(JSON.parse(json))).toContain(text);
  });
});

function textsIn(value: unknown): unknown[] {
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [value];
}

describe("the Markdown of a verification", () => {
  /** Every line's beginning, and how many cells it has; code and escapes taken out, as a reader of Markdown does. */
  const structureOf = (markdown: string) =>
    markdown.split("\n").map((line) => {
      const read = line.replaceAll(/\\[!-/:-@[-`{-~]/g, "x").replaceAll(/(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)/g, "x");
      return { start: read.slice(0, 2), cells: read.split("|").length, tags: read.match(/<(?!!-- -->)/g)?.length ?? 0 };
    });
  const tame = structureOf(verifyMarkdown(verificationOf("x"), 1));

  test.each(TEXTS)("has the lines, cells and elements of a tame one, with a text that %s", (_what, text) => {
    const markdown = verifyMarkdown(verificationOf(text), 1);
    expect(misleadingIn(markdown)).toEqual([]);
    expect(structureOf(markdown)).toEqual(tame);
  });

  test.each(TEXTS)("has no link, no mention and no code but the folder in a text that %s", (_what, text) => {
    const prose = verifyMarkdown(verificationOf(text), 1)
      .replaceAll(/\\\\/g, "")
      .split("\n")
      .filter((line) => !line.startsWith("`"))
      .join("\n");
    expect(prose).not.toMatch(/(?<!\\)[[\]`*_~]{1}(?<!\*\*)(?!\*)(?<!^\*)[^\n]*\]\(/);
    expect(prose).not.toMatch(/@\w|#\w|:\/\/|www\.|mailto:\w/);
  });
});

describe("the JUnit XML of a verification", () => {
  const elementsOf = (xml: string) => xml.match(/<[^>]*?(?=[\s>/])/g);
  const tame = verifyJunit(verificationOf("x"), 1);

  test.each(TEXTS)(
    "has the elements of a tame one, and nothing that XML cannot hold, with a text that %s",
    (_what, text) => {
      const xml = verifyJunit(verificationOf(text), 1);
      expect(misleadingIn(xml)).toEqual([]);
      expect(elementsOf(xml)).toEqual(elementsOf(tame));
      expect(xml.split("\n")).toHaveLength(tame.split("\n").length);
      expect(xml.replaceAll(/&(?:amp|lt|gt|quot|apos);/g, "")).not.toContain("&");
    },
  );
});

describe("the HTML of a verification", () => {
  const elementsOf = (page: string) => page.replaceAll(/<script[\s\S]*?<\/script>/g, "").match(/<(?!mark)[a-z!]+/g);
  const tame = elementsOf(verifyHtml(verificationOf("x"), ORIGIN));

  test.each(TEXTS)("has the elements of a tame one with a text that %s", (_what, text) => {
    const page = verifyHtml(verificationOf(text), ORIGIN);
    expect(misleadingIn(page)).toEqual([]);
    expect(elementsOf(page)).toEqual(tame);
  });
});
