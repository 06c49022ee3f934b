// The HTML of a verification as text: it is whole, holds everything it needs, allows nothing else, and shows what names and
// generated texts hold instead of reading it. How it looks and behaves is verify-html-chromium.test.ts.

import { createHash } from "node:crypto";
import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { VLLM } from "../../src/checkpoint/output-formats.js";
import type { VerifyResult } from "../../src/pipeline/verify-result.js";
import { showLines } from "../../src/report/shown-text.js";
import { verifyHtml } from "../../src/report/verify-html.js";
import { verifyJunit } from "../../src/report/verify-junit.js";
import { verifyMarkdown } from "../../src/report/verify-markdown.js";
import { verifyReport } from "../../src/report/verify-report.js";
import {
  ARMS,
  armOf,
  continuationOf,
  generationOf,
  HOSTILE,
  ORIGIN,
  RETRIEVAL,
  resultOf,
  VARIANTS,
  VERDICTS,
} from "./verify-fixture.js";

const MAX_BYTES = 1_000_000;
const VOID = new Set(["meta", "link", "br", "path", "line", "rect"]);

/** Without what is not markup: the texts of styles and scripts, and comments. */
function markupOf(page: string): string {
  return page
    .replaceAll(/(<(style|script)\b[^>]*>)[\s\S]*?(<\/\2>)/g, "$1$3")
    .replaceAll(/<!--[\s\S]*?-->/g, "")
    .replace("<!doctype html>", "");
}

/** Names of elements that are not closed where they should be. */
function unbalanced(markup: string): string[] {
  const open: string[] = [];
  for (const [, slash, name = "", selfClosed] of markup.matchAll(
    /<(\/?)([a-z][a-z0-9]*)(?:\s(?:"[^"]*"|[^">])*?)?(\/?)>/g,
  )) {
    if (VOID.has(name) || selfClosed === "/") continue;
    if (slash === "") open.push(name);
    else if (open.pop() !== name) return [`</${name}>`, ...open];
  }
  return open;
}

function textsIn(page: string, element: string): string[] {
  return [...page.matchAll(new RegExp(`<${element}[^>]*>([\\s\\S]*?)</${element.split(" ")[0]}>`, "g"))].map(
    ([, text = ""]) => text,
  );
}

describe.each(Object.entries(VARIANTS))("a result %s", (_name, result) => {
  const page = verifyHtml(result, ORIGIN);
  const markup = markupOf(page);

  test("is one whole document of less than 1 MB", () => {
    expect(page).toMatch(/^<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">/);
    expect(page).toMatch(/<\/html>\n$/);
    expect(unbalanced(markup)).toEqual([]);
    expect(Buffer.byteLength(page)).toBeLessThan(MAX_BYTES);
  });

  test("points at nothing outside itself", () => {
    const links = [...markup.matchAll(/\b(?:src|href|srcset|action|data|poster)="([^"]*)"/g)].map(
      ([, link = ""]) => link,
    );
    expect(links.filter((link) => !link.startsWith("data:"))).toEqual([]);
    expect(textsIn(page, "style").join("")).not.toMatch(/url\(|@import/);
    expect(markup).not.toMatch(/\son[a-z]+=|\sstyle=/);
  });

  test("allows exactly the scripts and the style that it holds, and no request", () => {
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1]?.replaceAll("&#39;", "'") ?? "";
    const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
    const [library, drawing, ...others] = [...page.matchAll(/<script(?: type="module")?>([\s\S]*?)<\/script>/g)].map(
      ([, text = ""]) => hashOf(text),
    );
    expect(others).toEqual([]);
    expect(policy.split("; ")).toEqual([
      "default-src 'none'",
      `script-src ${library} ${drawing}`,
      `style-src ${textsIn(page, "style").map(hashOf).join(" ")}`,
      "img-src data:",
      "base-uri 'none'",
      "form-action 'none'",
    ]);
  });

  test("has the data of every plot that it makes room for, as JSON", () => {
    const [json = ""] = textsIn(page, 'script type="application/json"');
    const rooms = [...markup.matchAll(/data-plot="([^"]+)"/g)].map(([, id]) => id);
    expect(Object.keys((JSON.parse(json) as { plots: object }).plots)).toEqual(rooms);
    expect(new Set(rooms).size).toBe(rooms.length);
  });

  test("says the verdict in its title and its header, with every reason", () => {
    const { name, passed, reasons } = result.verdict;
    const state = passed ? "passed" : name === "inconclusive" ? "open" : "failed";
    const title = { passed: "✓ % passed", failed: "✗ % failed", open: "? % not decided" }[state].split("%");
    expect(textsIn(page, "title")[0]?.startsWith(title[0] ?? "")).toBe(true);
    expect(textsIn(page, "title")[0]?.endsWith(`: FP8 KV cache${title[1]}`)).toBe(true);
    const verdict = /<div class="verdict (passed|failed|open)"[\s\S]*?<\/ul>/.exec(page) ?? [""];
    expect(verdict[1]).toBe(state);
    expect(verdict[0].match(/<li>/g)).toHaveLength(reasons.length);
  });

  test("is printed as it is written to a file: --html - loses nothing", () => {
    expect(showLines(page)).toBe(page);
  });

  test("is the same bytes each time", () => {
    expect(verifyHtml(result, ORIGIN)).toBe(page);
  });
});

describe("what checkpoints and models wrote is shown, not read", () => {
  const page = verifyHtml(VARIANTS["with hostile texts"] ?? resultOf(), ORIGIN);
  const shown =
    "a&lt;b&gt;&amp;amp;&quot;quoted&quot;&#39;s|`tick``s`*_]]&gt;\\x00\\x1b[31m\\ud800 \u{1F600}\\ufffe&lt;!--";

  test("folder, warning, prompt and answer stand there escaped", () => {
    expect(page).toContain(`<bdi>/models/${shown}</bdi>`);
    expect(page).toContain(`<strong>Note.</strong> ${shown}</p>`);
    expect(page).toContain(`<h3 class="prompt"><bdi>${shown}</bdi></h3>`);
    expect(page).toContain(`<mark>${shown}</mark>`);
    expect(page).not.toContain(HOSTILE);
  });

  test("they bring no element with them", () => {
    const countOf = (html: string) => (markupOf(html).match(/<[a-z]/g) ?? []).length;
    const tame = resultOf({
      checkpoint: "/models/x",
      warnings: ["x"],
      generation: generationOf({
        prompt: "x",
        bits16: continuationOf("x", 5),
        fp8: continuationOf("", 1),
        partsAt: 1,
      }),
    });
    expect(countOf(page)).toBe(countOf(verifyHtml(tame, ORIGIN)));
  });
});

describe("the judged figures stand against their limits", () => {
  const tilesOf = (page: string) =>
    [...page.matchAll(/<li class="tile( passed| failed| open)?">([\s\S]*?)<\/li>/g)].map(
      ([, state = "", text = ""]) => [
        state.trim(),
        /tile-value">([^<]*)/.exec(text)?.[1]?.trim(),
        Number(/meter-used" width="([\d.]+)"/.exec(text)?.[1] ?? "0") / 200,
      ],
    );

  test("what of each limit is used up; and the bytes of the cache, where measured", () => {
    expect(tilesOf(verifyHtml(resultOf(), ORIGIN))).toEqual([
      ["passed", "+0.13\u00a0%", 0.13],
      ["passed", "0.00312", 0.156],
      ["passed", "98.12\u00a0%", 0.376],
      ["", "11,520", 0],
    ]);
  });

  test("beyond the limit all of it is", () => {
    const arms = ARMS.filter(({ name }) => name !== "fp8");
    const tiles = tilesOf(verifyHtml(resultOf({ arms, scaleSource: undefined, generation: undefined }), ORIGIN));
    expect(tiles).toEqual([
      ["failed", "+56.00\u00a0%", 1],
      ["failed", "0.440", 1],
      ["failed", "71.00\u00a0%", 1],
    ]);
  });

  test("on both sides of the limit it is neither", () => {
    const fp8 = { ...armOf("fp8"), perplexityRatio: { value: 1.008, low: 1.001, high: 1.015 } };
    const page = verifyHtml(resultOf({ arms: [armOf("16-bit"), fp8], verdict: VERDICTS.inconclusive }), ORIGIN);
    expect(tilesOf(page)[0]).toEqual(["open", "+0.80\u00a0%", 0.8]);
    expect(page).toContain("maybe beyond the limits");
  });

  test("of a broken baseline there are none", () => {
    expect(tilesOf(verifyHtml(resultOf({ verdict: VERDICTS["baseline-broken"] }), ORIGIN))).toEqual([]);
  });
});

test.each<[string, Partial<VerifyResult>, string, string]>([
  [
    "passed with one scale for both",
    {},
    "Serve it with an FP8 cache:",
    "text-generation-launcher --model-id /models/Llama-FP8-KV --kv-cache-dtype fp8_e4m3fn",
  ],
  [
    "passed with a scale for each",
    { scaleSource: "k_scale, v_scale", engine: VLLM },
    "Serve it with an FP8 cache:",
    "vllm serve /models/Llama-FP8-KV --kv-cache-dtype fp8",
  ],
  [
    "passed with a scale for each that vLLM does not read",
    { scaleSource: "k_scale, v_scale" },
    "Serve it with an FP8 cache:",
    "text-generation-launcher --model-id /models/Llama-FP8-KV --kv-cache-dtype fp8_e4m3fn",
  ],
  [
    "passed without scales",
    { scaleSource: undefined, engine: undefined },
    "Serve it with an FP8 cache:",
    "vllm serve /models/Llama-FP8-KV --kv-cache-dtype fp8",
  ],
  [
    "passed with scales that no engine uses",
    { engine: undefined },
    "No engine is known to use just these scales. See what each does with them:",
    "npx create-kv-scales inspect /models/Llama-FP8-KV",
  ],
  [
    "failed for single layers",
    { verdict: VERDICTS["keep-layers-in-16-bits"], engine: VLLM },
    "Serve it with these layers in 16 bits:",
    "vllm serve /models/Llama-FP8-KV --kv-cache-dtype fp8 --kv-cache-dtype-skip-layers 1 3",
  ],
  [
    "failed for single layers, in a format of TGI",
    { verdict: VERDICTS["keep-layers-in-16-bits"] },
    "vLLM keeps these layers in 16 bits with --kv-cache-dtype-skip-layers 1 3. Write the scales for it:",
    "npx create-kv-scales convert /models/Llama-FP8-KV --format vllm",
  ],
  [
    "failed for all layers, in a format of TGI",
    { verdict: VERDICTS["too-costly"] },
    "Serve it with a 16-bit cache:",
    "text-generation-launcher --model-id /models/Llama-FP8-KV",
  ],
  [
    "failed for all layers",
    { verdict: VERDICTS["too-costly"], engine: VLLM },
    "Serve it with a 16-bit cache:",
    "vllm serve /models/Llama-FP8-KV",
  ],
  [
    "failed without scales",
    { verdict: VERDICTS["too-costly"], scaleSource: undefined, engine: undefined },
    "Calibrate it, then verify the result:",
    "npx create-kv-scales /models/Llama-FP8-KV",
  ],
  [
    "failed, and no layer was tried alone",
    { verdict: VERDICTS["too-costly"], layerEffects: [] },
    "Find the layers that cost most:",
    "npx create-kv-scales verify /models/Llama-FP8-KV --per-layer",
  ],
  [
    "was given too little text",
    { verdict: VERDICTS.inconclusive },
    "Verify it with more text:",
    "npx create-kv-scales verify /models/Llama-FP8-KV --data more-text.jsonl",
  ],
  [
    "was asked for too few values, about a hundred more would do",
    { verdict: { ...VERDICTS.inconclusive, lacks: ["values"], moreValues: 100 }, retrieval: RETRIEVAL },
    "Verify it with more values to retrieve:",
    "npx create-kv-scales verify /models/Llama-FP8-KV --retrieval --retrieval-values 196",
  ],
  [
    "was asked for too few values, nobody knows how many more would do",
    { verdict: { ...VERDICTS.inconclusive, lacks: ["values"], moreTokens: undefined }, retrieval: RETRIEVAL },
    "Verify it with more values to retrieve:",
    "npx create-kv-scales verify /models/Llama-FP8-KV --retrieval --retrieval-values 192",
  ],
  [
    "cannot be judged",
    { verdict: VERDICTS["baseline-broken"] },
    "Verify it with text that the model knows:",
    "npx create-kv-scales verify /models/Llama-FP8-KV --data my-text.txt",
  ],
])(
  "what to do now, where a checkpoint %s: the same in every report, with its command",
  (_what, changes, sentence, command) => {
    const result = resultOf(changes);
    expect(verifyHtml(result, ORIGIN).replaceAll(/<\/?span>/g, "")).toContain(
      `<strong>What to do now.</strong> ${sentence}</p><pre class="flag"><code>${command}</code></pre>`,
    );
    expect(verifyMarkdown(result, 1)).toContain(`${sentence}\n\n\`${command}\``);
    const screen = { colors: pc.createColors(false), width: 120 };
    expect(verifyReport(result, screen, 1)).toContain(`\n${sentence}\n  ${command}\n`);
  },
);

test("a verdict that passed has nothing in the colours of an alarm", () => {
  const passed = markupOf(verifyHtml(resultOf(), ORIGIN));
  const failed = markupOf(verifyHtml(resultOf({ verdict: VERDICTS["too-costly"] }), ORIGIN));
  expect(passed.match(/class="(beyond|warning) ?"/g)).toBeNull();
  expect(passed.match(/class="(beyond|warning) calm"/g)?.length).toBeGreaterThan(1);
  expect(failed).toContain("<strong>Warning.</strong>");
});

test("no report for people has the name of a verdict, which is for machines", () => {
  for (const verdict of Object.values(VERDICTS)) {
    const result = resultOf({ verdict: { ...verdict, sentence: "A sentence." }, layerEffects: [] });
    const screen = { colors: pc.createColors(false), width: 80 };
    const reports = [
      markupOf(verifyHtml(result, ORIGIN)),
      verifyMarkdown(result, 1),
      verifyReport(result, screen, 1),
      // In XML, the type of a failure is for machines, too.
      verifyJunit(result, 1).replaceAll(/ type="\w+"/g, ""),
    ];
    for (const report of reports) expect(report).not.toMatch(new RegExp(`(?<![\\w-])${verdict.name}(?![\\w-])`));
  }
});

test("every bar says what it shows", () => {
  const bars = [...verifyHtml(resultOf({ generation: undefined }), ORIGIN).matchAll(/tile-used">([^<]*)</g)].map(
    ([, text]) => text,
  );
  expect(bars).toEqual([13, 16, 38].map((percent) => `Bar: ${percent}\u00a0% of the limit is used`));
});

test("answers are marked from where they differ; equal ones are shown once", () => {
  const texts = [
    {
      prompt: "p",
      bits16: continuationOf(" one two", 2),
      fp8: continuationOf(" one 2 \u{1F600}", 3),
      partsAt: 2,
    },
    { prompt: "q", bits16: continuationOf(" same", 3), fp8: continuationOf(" same", 3), partsAt: undefined },
  ];
  const page = verifyHtml(resultOf({ generation: generationOf(...texts) }), ORIGIN);
  expect([...page.matchAll(/<h4>(.*?)<\/h4><p dir="auto">(.*?)<\/p>/g)].map((match) => match.slice(1))).toEqual([
    ["16 bits", " one <mark>two</mark>"],
    ["FP8", " one <mark>2 \u{1F600}</mark>"],
    ["Both caches", " same"],
  ]);
  expect(page).toContain("1 of 2 texts is equal. A token takes 60 bytes in bfloat16, 30 in float8_e4m3fn");
  expect(page).toContain("Stored as uint16 and uint8 codes.");
  const findings = [...page.matchAll(/<\/div>\n<p class="finding">(.*?)<\/p>\n<\/article>/g)].map(([, text]) => text);
  expect(findings).toEqual([
    "The texts differ from token 2 on (2 tokens in 16 bits, 3 in FP8).",
    "All 3 tokens are equal.",
  ]);
});

test("a character is not cut in halves where answers part", () => {
  const text = { prompt: "p", bits16: continuationOf("\u{1F600}"), fp8: continuationOf("\u{1F601}"), partsAt: 1 };
  const page = verifyHtml(resultOf({ generation: generationOf(text) }), ORIGIN);
  expect(page).toContain("<mark>\u{1F600}</mark>");
  expect(page).toContain("<mark>\u{1F601}</mark>");
});

test("it says how it was made: program, library and its licence, text, limits", () => {
  const page = verifyHtml(resultOf(), ORIGIN);
  expect(page).toMatch(/create-kv-scales 1\.2\.3, ONNX Runtime 1\.30\.0, Node 22\.1\.0; plots by uPlot \d+\.\d+\.\d+</);
  expect(page).toContain("<dd>2026-11-26 21:50 UTC</dd>");
  expect(page).toContain("Copyright (c) 2022 Leon Sorokin");
  expect(page).toContain("the held-out text of the package: 8,196 tokens in 4 windows, seed 0");
  expect(verifyHtml(resultOf({ data: "my.jsonl", seed: 7 }), ORIGIN)).toMatch(/<bdi>my\.jsonl<\/bdi>: .* seed 7/);
  expect(page).toContain("perplexity +1\u00a0%, mean KL 0.02\u00a0nats, same token 95\u00a0%");
});

test("the table of layers has a row for each, with the figures of both sides", () => {
  const rows = [...verifyHtml(resultOf(), ORIGIN).matchAll(/<tr><th scope="row">(\d+)<\/th>(.*?)<\/tr>/g)];
  expect(rows.map(([, layer]) => layer)).toEqual(["0", "1", "2", "3"]);
  expect([...(rows[1]?.[2] ?? "").matchAll(/<td>(.*?)<\/td>/g)].map(([, cell]) => cell)).toEqual([
    ...["9.0000e+5", "0.027300", "8.2 dB", "2.00 %", "1.23 %"],
    ...["12.250", "0.50000", "31.5 dB", "0.00 %", "1.23 %"],
    "0.00100",
  ]);
});
