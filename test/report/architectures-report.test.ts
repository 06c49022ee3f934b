// What is supported is said from the registry: on the terminal, as JSON and in docs/architectures.md.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { ARCHITECTURES } from "../../src/architectures/registry.js";
import { WRAPPERS } from "../../src/architectures/wrappers.js";
import { listArchitectures, type SupportedArchitecture } from "../../src/pipeline/list-architectures.js";
import { architecturesJson, architecturesReport } from "../../src/report/architectures-report.js";
import type { Screen } from "../../src/report/screen.js";
import { REPOSITORY, runMain } from "../helpers/run-cli.js";

const PLAIN: Screen = { colors: pc.createColors(false), width: 80 };
const LIST = listArchitectures();
const NAMES = [...Object.keys(ARCHITECTURES), ...Object.keys(WRAPPERS)].sort();

describe("the report", () => {
  const lines = architecturesReport(LIST, PLAIN).split("\n");

  test("has a line for each architecture, with what it covers", () => {
    for (const { modelType, covers } of LIST.supported) {
      const line = lines.find((one) => one.startsWith(`${modelType} `));
      expect(line).toContain(covers.split(" ")[0]);
    }
  });

  test("says why others are not supported", () => {
    const text = lines.join(" ").replaceAll(/\s+/g, " ");
    expect(text).toMatch(/bloom, mpt it uses ALiBi/);
    expect(text).toMatch(/deepseek_v3, .*multi-head latent attention/);
  });

  test("fits a terminal of 80 columns", () => {
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  });
});

test("each architecture and each wrapper is listed once, by name", () => {
  expect(LIST.supported.map(({ modelType }) => modelType)).toEqual(NAMES);
});

test("each says in a few words what it covers", () => {
  for (const { covers } of LIST.supported) {
    expect(covers).toMatch(/^\S.{1,110}[^.\s]$/);
    expect(covers).not.toMatch(/[|`]/);
  }
});

test("JSON has every fact", () => {
  const json = JSON.parse(architecturesJson(LIST)) as { supported: unknown[]; unsupported: unknown[] };
  expect(json.supported).toContainEqual({
    model_type: "arcee",
    covers: "Arcee AFM-4.5B",
    decoder_key: null,
    not_measured: [],
  });
  expect(json.supported).toContainEqual(
    expect.objectContaining({ model_type: "gemma3n", decoder_key: "text_config", not_measured: ["image", "audio"] }),
  );
  expect(json.supported).toHaveLength(NAMES.length);
  expect(json.unsupported).toContainEqual({ model_type: "t5", reason: expect.stringContaining("encoder-decoder") });
});

test.each([[["--json"]], [[]]])("the command prints it, and nothing on stderr: %j", async (flags: string[]) => {
  const result = await runMain(["architectures", ...flags]);
  const expected = flags.length > 0 ? architecturesJson(LIST) : architecturesReport(LIST, PLAIN);
  expect(result).toMatchObject({ exitCode: 0, stdout: expected, stderr: "" });
});

test("the tables of docs/architectures.md are this list", () => {
  const page = readFileSync(join(REPOSITORY, "docs/architectures.md"), "utf8");
  const tables = page.split("\n\n").filter((part) => part.startsWith("| `model_type`"));
  const rows = tables.flatMap((table) => table.split("\n").slice(2));
  const cellsOf = (row: string) => row.split("|").map((cell) => cell.trim());
  const [texts, wrappers] = [LIST.supported.filter(isText), LIST.supported.filter((one) => !isText(one))];
  // When this fails, these are the rows to put there.
  expect(rows.map((row) => cellsOf(row).slice(1, -1).join(" | "))).toEqual([
    ...texts.map(({ modelType, covers }) => `\`${modelType}\` | ${covers}`),
    ...wrappers.map(
      ({ modelType, covers, decoderKey, notMeasured }) =>
        `\`${modelType}\` | ${covers} | \`${decoderKey}\` | ${notMeasured.join(", ")}`,
    ),
  ]);
});

function isText({ decoderKey }: SupportedArchitecture): boolean {
  return decoderKey === undefined;
}
