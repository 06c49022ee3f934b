// The XML of a verification: well-formed whatever the names, and failing exactly when the command does.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ArmResult } from "../../src/pipeline/verify-result.js";
import { verifyJunit } from "../../src/report/verify-junit.js";
import { armOf, HOSTILE, resultOf, VARIANTS, VERDICTS } from "./verify-fixture.js";

interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Element[];
  text: string;
}

/** Reads the XML that JUnit reports are made of: elements, attributes, text, the five entities. Throws at anything else. */
function parseXml(xml: string): Element {
  const root: Element = { name: "", attributes: {}, children: [], text: "" };
  const open = [root];
  const body = xml.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, "");
  expect(body).not.toBe(xml);
  expect(body).toMatch(/^[\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]*$/u);
  const piece =
    /<\/(?<end>[\w-]+)>|<(?<start>[\w-]+)(?<attributes>(?: [\w-]+="[^"<]*")*)(?<empty>\/?)>|(?<text>[^<]+)/gy;
  let read = 0;
  for (const match of body.matchAll(piece)) {
    read += match[0].length;
    const { end, start, attributes = "", empty, text } = match.groups ?? {};
    const parent = open.at(-1) ?? root;
    if (text !== undefined) parent.text += unescapeXml(text);
    if (end !== undefined) expect(open.pop()?.name).toBe(end);
    if (start === undefined) continue;
    const pairs = [...attributes.matchAll(/ (?<key>[\w-]+)="(?<value>[^"]*)"/g)].map(({ groups = {} }) => [
      groups.key,
      unescapeXml(groups.value ?? ""),
    ]);
    const element = { name: start, attributes: Object.fromEntries(pairs), children: [], text: "" };
    parent.children.push(element);
    if (empty === "") open.push(element);
  }
  expect([read, open.length, root.children.length]).toEqual([body.length, 1, 1]);
  return root.children[0] ?? root;
}

function unescapeXml(text: string): string {
  expect(text.replaceAll(/&(?:amp|lt|gt|quot|apos);/g, "")).not.toMatch(/[&<>]/);
  const characters: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text.replaceAll(/&(\w+);/g, (_, name: string) => characters[name] ?? "");
}

function casesOf(result = resultOf()): Element[] {
  const [suite] = parseXml(verifyJunit(result, 12.5)).children;
  return suite?.children.filter(({ name }) => name === "testcase") ?? [];
}

const outcomeOf = ({ children }: Element) => children.map(({ name }) => name).join();
const namesOf = (cases: readonly Element[]) =>
  cases.map(({ attributes }) => `${attributes.classname} ${attributes.name}`);

describe.each(Object.entries(VARIANTS))("a result %s", (_name, result) => {
  const suites = parseXml(verifyJunit(result, 12.5));
  const cases = casesOf(result);

  test("has the verdict and every threshold for each arm but the baseline", () => {
    const thresholds = result.retrieval?.isTelling ? 4 : 3;
    expect(cases).toHaveLength(1 + thresholds * (result.arms.length - 1));
    expect(new Set(namesOf(cases)).size).toBe(cases.length);
  });

  test("counts its cases as they are", () => {
    const count = (outcome: string) => String(cases.filter((entry) => outcomeOf(entry) === outcome).length);
    const counts = { tests: String(cases.length), failures: count("failure"), errors: "0", time: "12.500" };
    expect(suites.attributes).toMatchObject(counts);
    expect(suites.children[0]?.attributes).toMatchObject({ ...counts, skipped: count("skipped") });
  });
});

describe("a threshold", () => {
  const found = (arm: ArmResult, ...others: ArmResult[]) =>
    casesOf(resultOf({ arms: [armOf("16-bit"), ...others, arm] })).filter(
      ({ attributes }) => attributes.classname === `create-kv-scales.verify.${arm.name}`,
    );

  test.each([
    ["perplexity", armOf("fp8", { ratio: [1.05, 1.04, 1.06] }), "perplexity increase at most 1 %"],
    ["KL", armOf("fp8", { kl: 0.03 }), "mean KL divergence at most 0.02 nats"],
    ["agreement", armOf("fp8", { agreement: 0.9 }), "agreement at least 95 %"],
  ])("that is broken is a failed case, and no other: %s", (_what, arm, name) => {
    const failed = found(arm).filter((entry) => outcomeOf(entry) === "failure");
    expect(failed.map(({ attributes }) => attributes.name)).toEqual([name]);
    expect(failed[0]?.children[0]?.attributes.message).toMatch(/; at (most|least) .* is (allowed|required)\.$/);
  });

  test("that may be broken is skipped: nobody knows", () => {
    const undecided = { ...armOf("fp8"), perplexityRatio: { value: 1.008, low: 1.001, high: 1.015 } };
    const [perplexity] = found(undecided);
    expect(perplexity && outcomeOf(perplexity)).toBe("skipped");
    expect(perplexity?.children[0]?.attributes.message).toMatch(/is allowed: too little text to tell\.$/);
  });

  test("that an arm breaks which is only compared with is skipped, with what was found", () => {
    const [, kl] = found(armOf("fp8-at-1", { kl: 0.5 }), armOf("fp8"));
    expect(kl && outcomeOf(kl)).toBe("skipped");
    expect(kl?.children[0]?.attributes.message).toMatch(/^To compare with: Mean KL divergence: 0\.500 nats/);
  });

  test("that scale 1.0 breaks in a checkpoint without scales is a failed case", () => {
    const [, kl] = found(armOf("fp8-at-1", { kl: 0.5 }));
    expect(kl && outcomeOf(kl)).toBe("failure");
  });
});

describe("an inconclusive verdict", () => {
  const result = resultOf({ verdict: VERDICTS.inconclusive });
  const suiteOf = (allowed: boolean) => parseXml(verifyJunit(result, 1, allowed));
  const verdictOf = (allowed: boolean) => suiteOf(allowed).children[0]?.children[0]?.children[0];

  test("is a failure of its own type, because the command fails, too", () => {
    expect(verdictOf(false)).toMatchObject({ name: "failure", attributes: { type: "inconclusive" } });
    expect(suiteOf(false).attributes).toMatchObject({ failures: "1", errors: "0" });
  });

  test("is skipped where the command allows it, and nothing fails", () => {
    expect(verdictOf(true)?.name).toBe("skipped");
    expect(suiteOf(true).attributes).toMatchObject({ failures: "0", errors: "0" });
  });
});

test("the verdict is a case of its own, always under the same name, and says everything when it failed", () => {
  for (const verdict of Object.values(VERDICTS)) {
    const [first] = casesOf(resultOf({ verdict }));
    expect(first?.attributes).toEqual({ classname: "create-kv-scales.verify", name: "verdict" });
    expect(first && outcomeOf(first)).toBe(verdict.passed ? "system-out" : "failure");
    for (const line of [verdict.sentence, ...verdict.reasons, verdict.flag ?? ""])
      expect(first?.children[0]?.text).toContain(line);
  }
});

describe("names", () => {
  const nameOf = (checkpoint: string) =>
    parseXml(verifyJunit(resultOf({ checkpoint, warnings: [checkpoint] }), 1)).children[0]?.attributes.name;

  test("come back as they were, but for what XML cannot hold, which is written out", () => {
    expect(nameOf(HOSTILE)).toBe('a<b>&amp;"quoted"\'s|`tick``s`*_]]>\\x00\\x1b[31m\\ud800 \u{1F600}\\ufffe<!--');
  });

  test("of any characters leave the XML well-formed", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (first, second) => {
        expect(nameOf(`${first}<&"'>${second}`)).toContain(`<&"'>`);
      }),
    );
  });
});
