// What a terminal shows of a verification: it fits 80 columns, and nothing that was read can steer it.

import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { VLLM } from "../../src/checkpoint/output-formats.js";
import type { MeasuredCache } from "../../src/pipeline/verify-result.js";
import type { Screen } from "../../src/report/screen.js";
import { verifyReport } from "../../src/report/verify-report.js";
import { armOf, continuationOf, HOSTILE, resultOf, VARIANTS, VERDICTS } from "./verify-fixture.js";

const PLAIN: Screen = { colors: pc.createColors(false), width: 80 };
const COLORED: Screen = { colors: pc.createColors(true), width: 80 };
const ESCAPE = "\u001B";
const [RED, GREEN, YELLOW] = [`${ESCAPE}[31m`, `${ESCAPE}[32m`, `${ESCAPE}[33m`];

function linesOf(result = resultOf()): string[] {
  return verifyReport(result, PLAIN, 12.34).split("\n");
}

/** Columns that a line takes; East Asian characters take two. */
function columnsOf(line: string): number {
  return [...line].reduce(
    (sum, character) => sum + (/[\u3000-\u9FFF\uFF00-\uFF60\u{1F300}-\u{1FAFF}]/u.test(character) ? 2 : 1),
    0,
  );
}

describe.each(Object.entries(VARIANTS))("a result %s", (_name, result) => {
  const lines = linesOf(result);

  test.each([50, 80, 120])("has no line wider than %d columns", (width) => {
    const report = verifyReport(result, { ...PLAIN, width }, 12.34).split("\n");
    const isOneWord = (line: string) => line.includes("a<b>&amp;");
    expect(report.filter((line) => columnsOf(line) > width && !isOneWord(line))).toEqual([]);
  });

  test("has every arm, the verdict, every reason and every warning", () => {
    const text = lines.join(" ").replaceAll(/ +/g, " ");
    for (const { name } of result.arms) expect(lines.filter((line) => line.startsWith(`${name} `))).not.toEqual([]);
    expect(text).toContain(result.verdict.sentence);
    for (const reason of result.verdict.reasons) expect(text).toContain(`- ${reason}`);
    expect(lines.filter((line) => line.startsWith("Warning: "))).toHaveLength(result.warnings.length);
  });

  test("has no control character of its own, and colours change nothing but the colours", () => {
    const plain = verifyReport(result, PLAIN, 1);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
    expect(plain).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F]/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
    expect(verifyReport(result, COLORED, 1).replaceAll(/\u001B\[\d+m/g, "")).toBe(plain);
  });
});

describe("the table of arms", () => {
  const rowOf = (name: string, result = resultOf()) =>
    linesOf(result).find((line) => line.startsWith(`${name} `)) ?? "";

  test("has its columns below their titles", () => {
    const [title = ""] = linesOf();
    const ends = [...title.matchAll(/perplexity|against 16-bit|mean KL|p99 KL|same token/g)].map(
      ({ index, 0: text }) => index + text.length,
    );
    expect(ends).toHaveLength(5);
    for (const name of ["exact", "16-bit", "fp8", "fp8-at-1", "e5m2"])
      for (const end of ends) expect(rowOf(name).slice(end - 1, end + 1)).toMatch(/^\S ?$/);
  });

  test.each([
    ["fp8", "fp8       12.361 ± 0.12  1.0013 (1.0009–1.0017)  0.00312   0.0374     98.12 %"],
    ["16-bit", "16-bit    12.346 ± 0.12                baseline        –        –           –"],
    ["exact", "exact     12.346 ± 0.12   1.0000, no difference  1.20e-5  1.44e-4     99.91 %"],
    ["noise", "noise                                 ±0.0050 %  1.20e-5  1.44e-4     99.91 %"],
    ["limit", "limit                                      +1 %     0.02                 95 %"],
  ])("says of %s what there is to say", (name, row) => {
    expect(rowOf(name)).toBe(row);
  });

  test("calls a difference within the noise none", () => {
    const fp8 = armOf("fp8", { ratio: [1.00004, 1.00002, 1.00006] });
    const noise = armOf("exact", { ratio: [0.99995, 0.9999, 0.99999] });
    expect(rowOf("fp8", resultOf({ arms: [armOf("16-bit"), fp8] }))).not.toContain("no difference");
    expect(rowOf("fp8", resultOf({ arms: [noise, armOf("16-bit"), fp8] }))).toContain("1.0000, no difference");
  });

  test.each([
    ["red where the verdict failed", VERDICTS["too-costly"], RED],
    ["yellow beside one that passed, which is no alarm", VERDICTS.ship, YELLOW],
  ])("has arms beyond a threshold in %s, and no others", (_what, verdict, color) => {
    const marked = verifyReport(resultOf({ verdict, warnings: [] }), COLORED, 1)
      .split("\n")
      .filter((line) => line.startsWith(color) && line.includes(" ± "));
    expect(marked.map((line) => line.slice(color.length).split(" ")[0])).toEqual(["fp8-at-1", "e5m2"]);
  });
});

describe("the table of layers", () => {
  test("is that of the judged arm: 1.0 when there are no scales", () => {
    const [layer] = armOf("fp8").layers;
    const of = (sqnr: number) => (layer ? [{ ...layer, k: { ...layer.k, sqnr } }] : []);
    const fp8 = { ...armOf("fp8"), layers: of(31.1) };
    const at1 = { ...armOf("fp8-at-1"), layers: of(22.2) };
    expect(linesOf(resultOf({ arms: [armOf("16-bit"), at1, fp8] })).join("\n")).toMatch(/^ +0 +31\.1 dB/m);
    expect(linesOf(resultOf({ arms: [armOf("16-bit"), at1] })).join("\n")).toMatch(/^ +0 +22\.2 dB/m);
  });

  test("has what each layer costs alone when that was measured, and no such column when not", () => {
    expect(linesOf().join("\n")).toMatch(/flushed +KL alone\n +0 .* 0\.0100\n/);
    expect(linesOf(resultOf({ layerEffects: [] })).join("\n")).toMatch(/flushed\n +0 .*%\n/);
  });

  test("has longer bars for cleaner caches, a full one when nothing is lost and none when all is", () => {
    const bars = linesOf()
      .filter((line) => /^ +\d .* dB/.test(line))
      .map((line) => [...line.slice(16, 24)].filter((character) => character !== " ").length);
    expect(bars).toEqual([7, 2, 8, 0]);
  });

  test("has in red what saturates, and nothing else", () => {
    const table =
      verifyReport(
        resultOf({ arms: [armOf("16-bit"), armOf("fp8")], verdict: VERDICTS["too-costly"] }),
        COLORED,
        1,
      ).split("\n\n")[1] ?? "";
    const red = table.split("\n").filter((line) => line.includes(RED));
    expect(red.map((line) => /^ +(\d)/.exec(line)?.[1])).toEqual(["1", "3"]);
  });

  test("counts K and V together: a side without loss halves the share", () => {
    expect(linesOf().join("\n")).toMatch(/^ +3 .* 50\.00 % +1\.23 %/m);
  });
});

describe("the verdict", () => {
  test.each([
    [VERDICTS.ship, GREEN],
    [VERDICTS["scale-1-does-as-well"], YELLOW],
    [VERDICTS["keep-layers-in-16-bits"], RED],
    [VERDICTS["too-costly"], RED],
    [VERDICTS["baseline-broken"], RED],
  ])("$name has its colour", (verdict, color) => {
    const line = verifyReport(resultOf({ verdict }), COLORED, 1)
      .split("\n")
      .find((text) => text.includes("This stands for"));
    expect(line).toContain(color);
  });

  test("names the flag that keeps layers in 16 bits", () => {
    const lines = linesOf(resultOf({ verdict: VERDICTS["keep-layers-in-16-bits"], engine: VLLM }));
    const command = "vllm serve /models/Llama-FP8-KV --kv-cache-dtype fp8 --kv-cache-dtype-skip-layers 1 3";
    expect(lines.join("\n").replaceAll(/ \\\n +/g, " ")).toContain(`  ${command}\n`);
    expect(linesOf().join("\n")).not.toContain("skip-layers");
  });

  test("a long flag is broken as a shell allows", () => {
    const layers = Array.from({ length: 30 }, (_, index) => index);
    const flag = `--kv-cache-dtype-skip-layers ${layers.join(" ")}`;
    const lines = linesOf(resultOf({ verdict: { ...VERDICTS["keep-layers-in-16-bits"], layers, flag }, engine: VLLM }));
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.join("\n").replaceAll(/ \\\n +/g, " ")).toContain(flag);
  });
});

describe("generated texts", () => {
  test("are shown once when equal, side by side when they part, with the token", () => {
    const text = linesOf().join("\n");
    expect(text).toContain("  both    is Paris.\n          all 64 tokens are equal\n");
    expect(text).toMatch(/ {2}16 bits .*…\n {2}FP8 {5}.*…\n {10}the texts differ from token 1 on \(64 tokens\)\n/);
    expect(text).toContain(
      "1 of 2 texts is equal. A token takes 23,040 bytes in bfloat16, 11,520 in\nfloat8_e4m3fn (per layer 768 and 384). Stored as uint16 and uint8 codes.",
    );
  });

  test("come with how their caches were stored, which is not the same everywhere", () => {
    const { generation } = resultOf();
    if (generation === undefined) return expect.fail("the fixture generates");
    const stored = (cache: MeasuredCache, storedType: string) => ({ ...cache, storedBy: "loop" as const, storedType });
    const text = linesOf(
      resultOf({
        generation: {
          ...generation,
          bits16: stored(generation.bits16, "bfloat16"),
          fp8: stored(generation.fp8, "float8_e4m3fn"),
        },
      }),
    );
    expect(text.join(" ")).toContain("Stored as bfloat16 and float8_e4m3fn in GroupQueryAttention's own cache.");
  });

  test("show what they share once, in whole words and from its end, then how each goes on", () => {
    const shared = "It was a dark and stormy night, and nobody was at sea but the keeper of the lighthouse and his";
    const { generation } = resultOf();
    const parting = {
      prompt: "A story?",
      bits16: continuationOf(`${shared} daughter.\nThey`),
      fp8: continuationOf(`${shared} dog.`, 31),
      partsAt: 20,
    };
    const lines = linesOf(resultOf({ generation: generation && { ...generation, texts: [parting] } }));
    const first = lines.indexOf("  prompt  A story?");
    expect(lines.slice(first + 1, first + 5)).toEqual([
      "  both    …night, and nobody was at sea but the keeper of the lighthouse and his",
      "  16 bits daughter.\\nThey",
      "  FP8     dog.",
      "          the texts differ from token 20 on (64 tokens in 16 bits, 31 in FP8)",
    ]);
  });

  test("that are written without spaces part at a character", () => {
    const { generation } = resultOf();
    const shared = "在这里提供了一种更精妍的语";
    const parting = {
      prompt: "?",
      bits16: continuationOf(`${shared}书`),
      fp8: continuationOf(`${shared}山`),
      partsAt: 9,
    };
    const lines = linesOf(resultOf({ generation: generation && { ...generation, texts: [parting] } }));
    expect(lines).toEqual(expect.arrayContaining([`  both    ${shared}`, "  16 bits 书", "  FP8     山"]));
  });

  test("cannot steer the terminal", () => {
    const text = verifyReport(resultOf({ checkpoint: HOSTILE, warnings: [HOSTILE] }), PLAIN, 1);
    expect(text).toContain("<!--");
    expect(text).not.toContain(ESCAPE);
  });

  test("are left out when none were asked for", () => {
    expect(linesOf(resultOf({ generation: undefined })).join("\n")).not.toContain("Generated");
  });
});
