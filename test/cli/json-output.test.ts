// What machines read: every document says which version of its form it has, a schema in schemas/ describes each, and a
// failure is a document, too. `run-cli.ts` holds the --json of every other test against the schemas.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as library from "../../src/index.js";
import { failureJson } from "../../src/report/result-json.js";
import { verifyJson } from "../../src/report/verify-json.js";
import { calibrationOf, makeExample } from "../helpers/example-checkpoint.js";
import { readSchema, SCHEMA_NAMES, schemaErrors } from "../helpers/json-schemas.js";
import { type CliResult, REPOSITORY, runMain } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";
import { MANIFEST } from "../helpers/staged-package.js";
import { VARIANTS } from "../report/verify-fixture.js";

interface Failure {
  readonly schema_version: number;
  readonly error: { readonly kind: string; readonly exit_code: number; readonly message: string };
}

function failureOf({ stdout }: CliResult): Failure {
  return JSON.parse(stdout) as Failure;
}

/** Every object of a schema, with the path to it. */
function objectsOf(schema: unknown, path = ""): { path: string; object: Record<string, unknown> }[] {
  if (typeof schema !== "object" || schema === null) return [];
  const inner = Object.entries(schema).flatMap(([key, value]) => objectsOf(value, `${path}/${key}`));
  return "properties" in schema && "type" in schema ? [{ path, object: { ...schema } }, ...inner] : inner;
}

describe.each(SCHEMA_NAMES)("schemas/%s.json", (name) => {
  test("allows no key that it does not describe, and asks for the version first", () => {
    const objects = objectsOf(readSchema(name));
    expect(objects.length).toBeGreaterThan(1);
    expect(objects.filter(({ object }) => object.additionalProperties !== false)).toEqual([]);
    const { properties, required } = objects[0]?.object ?? {};
    expect(Object.keys(Object(properties))[0]).toBe("schema_version");
    expect(required).toContain("schema_version");
  });

  test("is a schema, and refuses an empty document", () => {
    expect(schemaErrors(name, {})).not.toEqual([]);
  });
});

test("docs/ci.md names every schema", () => {
  const page = readFileSync(join(REPOSITORY, "docs/ci.md"), "utf8");
  expect(SCHEMA_NAMES.filter((name) => !page.includes(`${name}.json`))).toEqual([]);
});

test("package.json gives schemas to whoever imports them", () => {
  expect(MANIFEST).toMatchObject({ exports: { "./schemas/*.json": "./schemas/*.json" } });
  expect(MANIFEST).toMatchObject({ files: expect.arrayContaining(["schemas"]) });
});

test.each(Object.entries(VARIANTS))("a verification %s is what verify.json describes", (_name, result) => {
  const document: Record<string, unknown> = JSON.parse(verifyJson(result, 1.5));
  expect(Object.keys(document)[0]).toBe("schema_version");
  expect(schemaErrors("verify", document)).toEqual([]);
  expect(schemaErrors("verify", { ...document, another: 1 })).not.toEqual([]);
  const { verdict: _, ...without } = document;
  expect(schemaErrors("verify", without)).not.toEqual([]);
});

describe("kv_scales.json", () => {
  const recordIn = (folder: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(folder, "kv_scales.json"), "utf8"));

  test("is what its schema describes, of a calibration, a conversion and one without an earlier record; with no path", async () => {
    const example = makeExample(temporaryFolder());
    const converted = join(example.root, "converted");
    const bare = join(example.root, "bare");
    await runMain(calibrationOf(example, "--format", "vllm", "--quiet"));
    await runMain(["convert", example.output, "-o", converted, "--format", "tgi", "--quiet"]);
    const record = recordIn(example.output);
    expect(record).toMatchObject({ schema_version: 1, model: "model", data: "prompts.txt" });
    expect(record.command).toMatch(/^create-kv-scales model --format vllm .* --data prompts\.txt .*--provider cpu$/);
    expect(recordIn(converted).command).toBe(String(record.command).replace("vllm", "tgi"));
    rmSync(join(converted, "kv_scales.json"));
    await runMain(["convert", converted, "-o", bare, "--format", "tgi-separate", "--quiet"]);
    for (const found of [record, recordIn(bare)]) {
      expect(schemaErrors("kv_scales", found)).toEqual([]);
      expect(JSON.stringify(found)).not.toContain(example.root);
    }
    expect(schemaErrors("kv_scales", { ...record, path: "x" })).not.toEqual([]);
  });

  test("of an earlier version, without these keys, is read all the same", async () => {
    const example = makeExample(temporaryFolder());
    await runMain(calibrationOf(example, "--format", "vllm", "--quiet"));
    const { schema_version: _, model: _model, data: _data, command: _command, ...older } = recordIn(example.output);
    writeFileSync(join(example.output, "kv_scales.json"), JSON.stringify(older));
    expect(await runMain(["inspect", example.output])).toMatchObject({ exitCode: 0 });
    const converted = join(example.root, "converted");
    const { stdout } = await runMain(["convert", example.output, "-o", converted, "--format", "tgi", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ source: "absmax" });
    const record = recordIn(converted);
    expect(schemaErrors("kv_scales", record)).toEqual([]);
    expect(Object.keys(record)).not.toContain("command");
  });
});

describe("when a run with --json fails", () => {
  const nowhere = () => join(temporaryFolder(), "none");

  test.each<[what: string, args: () => string[], kind: string, exitCode: number]>([
    ["a mistyped option", () => ["--json", "--modle", "x"], "UsageError", 2],
    ["a value out of range", () => [nowhere(), "--headroom", "0", "--json"], "UsageError", 2],
    ["--json with --quiet", () => [nowhere(), "--json", "--quiet"], "UsageError", 2],
    ["no folder of that name", () => [nowhere(), "--json"], "CheckpointError", 3],
    ["the same, of inspect", () => ["inspect", nowhere(), "--json"], "CheckpointError", 3],
    ["a device that is not there", () => ["verify", "--provider", "cpu", "--device", "0", "--json"], "UsageError", 2],
    ["an argument too few, of diff", () => ["diff", "--json", "x"], "UsageError", 2],
  ])("stdout says so, and stderr says it to people: %s", async (_what, args, kind, exitCode) => {
    const result = await runMain(args());
    const { error } = failureOf(result);
    expect({ ...error, message: "" }).toEqual({ kind, exit_code: exitCode, message: "" });
    expect(result.exitCode).toBe(exitCode);
    expect(error.message).not.toMatch(/^error:|\n$/i);
    expect(result.stderr.toLowerCase()).toContain(error.message.split(/ \(|\.$/)[0]?.toLowerCase());
  });

  test("what is behind -- is no option, and help is no failure", async () => {
    expect(await runMain(["inspect", "--", "--json"])).toMatchObject({ exitCode: 3, stdout: "" });
    const { exitCode, stdout } = await runMain(["inspect", "--help"]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain("--json");
  });

  test("a result that is there stays the only document", async () => {
    const example = makeExample(temporaryFolder());
    await runMain(calibrationOf(example, "--quiet"));
    const { exitCode, stdout } = await runMain([
      "verify",
      example.output,
      "--data",
      example.prompts,
      "--json",
      "--max-kl",
      "0",
    ]);
    expect(exitCode).toBe(6);
    expect(JSON.parse(stdout)).toMatchObject({ schema_version: 1, verdict: { passed: false } });
  });

  test("kinds are the library's classes of errors, and Bug", () => {
    const classes = Object.keys(library).filter((name) => name.endsWith("Error") && name !== "KvScalesError");
    const schema = readSchema("error") as { properties: { error: { properties: { kind: { enum: string[] } } } } };
    expect(schema.properties.error.properties.kind.enum.toSorted()).toEqual([...classes, "Bug"].toSorted());
    const bug = JSON.parse(failureJson({ error: new TypeError("x is undefined"), exitCode: 1 }));
    expect(bug).toMatchObject({ error: { kind: "Bug", exit_code: 1, message: "x is undefined" } });
  });
});

describe("with --quiet", () => {
  test("stdout is the one line, and stderr has the warnings, a line each", async () => {
    const example = makeExample(temporaryFolder());
    const { stdout } = await runMain(calibrationOf(example, "--json", "--sequence-length", "8"));
    const { warnings } = JSON.parse(stdout) as { warnings: string[] };
    expect(warnings).not.toEqual([]);
    const quiet = calibrationOf(example, "--quiet", "--sequence-length", "8", "--force");
    expect(await runMain(quiet)).toMatchObject({
      stdout: `${example.output}\n`,
      stderr: warnings.map((warning) => `Warning: ${warning}\n`).join(""),
    });
  });
});
