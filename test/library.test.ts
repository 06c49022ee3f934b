// The library as its callers meet it: types that can be named, texts that an editor shows, a page of them that is up to
// date. Read off the built declarations.

import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { apiPage, membersOf } from "../scripts/api-page.js";
import { hiddenTypes, readExports } from "../scripts/declarations.js";
import * as library from "../src/index.js";
import { VERIFY_DEFAULTS } from "../src/metrics/verdict.js";
import { OPTIONS as OPTIONS_OF } from "../src/pipeline/known-options.js";
import { CALIBRATION_DEFAULTS, GENERATION_DEFAULTS, VERIFICATION_DEFAULTS } from "../src/pipeline/run-options.js";
import { REPOSITORY, startProgram } from "./helpers/run-cli.js";
import { temporaryFolder } from "./helpers/run-cli-folders.js";

const EXPORTS = readExports(join(REPOSITORY, "dist/index.d.ts"));
const OPTIONS = EXPORTS.filter(({ name }) => name.endsWith("Options") || name === "Thresholds");

test("every type that an exported declaration names is exported", () => {
  expect(EXPORTS.length).toBeGreaterThan(50);
  expect(hiddenTypes(EXPORTS)).toEqual([]);
  const without = EXPORTS.filter(({ name }) => name !== "Verdict");
  expect(hiddenTypes(without)).toEqual(["VerifyResult → Verdict"]);
});

test("a strict caller can declare whatever it makes of results", async () => {
  const root = temporaryFolder();
  const installed = join(root, "node_modules/create-kv-scales");
  mkdirSync(installed, { recursive: true });
  cpSync(join(REPOSITORY, "package.json"), join(installed, "package.json"));
  cpSync(join(REPOSITORY, "dist"), join(installed, "dist"), {
    recursive: true,
    filter: (path) => !path.endsWith(".js"),
  });
  const calls = EXPORTS.filter(({ kind }) => kind === "function").map(({ name }) => name);
  writeFileSync(
    join(root, "caller.ts"),
    `import { ${calls.join(", ")} } from "create-kv-scales";
${calls.map((name) => `export const run_${name} = async (options: Parameters<typeof ${name}>[0]) => ({ ...(await ${name}(options)) });`).join("\n")}
export const arms = async () => (await verify({ model: "x" })).arms.map(({ divergence, layers }) => ({ divergence, layers }));
export const engines = async () => (await inspect({ model: "x" })).engines[0];
export const progress = (given: NonNullable<Parameters<typeof calibrate>[0]["onProgress"]>) => given;
`,
  );
  const compilerOptions = {
    ...{ module: "nodenext", target: "es2022", strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false },
    ...{ declaration: true, emitDeclarationOnly: true, outDir: "out" },
    ...{ typeRoots: [join(REPOSITORY, "node_modules/@types")], types: ["node"] },
  };
  writeFileSync(join(root, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["caller.ts"] }));
  writeFileSync(join(root, "package.json"), JSON.stringify({ type: "module" }));
  const compiler = join(REPOSITORY, "node_modules/typescript/bin/tsc");
  const { exitCode, stdout } = await startProgram(process.execPath, [compiler, "-p", root]).done;
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "" });
  expect(readFileSync(join(root, "out/caller.d.ts"), "utf8")).toContain("LayerFidelity");
});

describe.each(OPTIONS.map(({ name, text }) => [name, membersOf(text)] as const))("%s", (_name, members) => {
  test.each(members.map((member) => [member.name, member] as const))(
    "%s says what it is, and its default",
    (name, member) => {
      expect(member.text).toMatch(/^[A-Z].{8,}\.$/);
      expect(member.text).not.toMatch(/(^|\s)@\w/);
      const isRequired = !member.optional && _name !== "Thresholds";
      if (isRequired) expect(member.byDefault).toBeUndefined();
      else expect(member.byDefault ?? name).toMatch(/^\S.*[^.]$/);
    },
  );
});

test.each([
  ["CalibrateOptions", CALIBRATION_DEFAULTS],
  ["VerifyOptions", VERIFICATION_DEFAULTS],
  ["ComputeOptions", { provider: CALIBRATION_DEFAULTS.provider }],
  ["GenerationOptions", GENERATION_DEFAULTS],
  ["Thresholds", VERIFY_DEFAULTS],
])("the defaults that %s names are those of the program", (name, defaults) => {
  const members = membersOf(OPTIONS.find((one) => one.name === name)?.text ?? "");
  const named = members.filter((member) => member.name in defaults);
  expect(named.length).toBeGreaterThan(0);
  const values: Readonly<Record<string, unknown>> = { ...defaults };
  for (const member of named) expect(member.byDefault).toBe(`\`${JSON.stringify(values[member.name])}\``);
});

test("docs/api.md is what the source says: npm run api writes it", () => {
  expect(readFileSync(join(REPOSITORY, "docs/api.md"), "utf8")).toBe(apiPage());
});

describe("an option that is not known is refused, before anything is read", () => {
  const refusal = async (run: Promise<unknown>): Promise<unknown> => await run.catch((error: unknown) => error);

  test.each<[name: string, options: object, message: string]>([
    ["calibrate", { modle: "x" }, 'calibrate: there is no option "modle". Did you mean model?'],
    ["calibrate", { model: "x", inplace: true }, 'calibrate: there is no option "inplace". Did you mean inPlace?'],
    ["convert", { model: "x", fromat: "tgi" }, 'convert: there is no option "fromat". Did you mean format?'],
    ["diff", { a: "x", b: "y", onProgres: () => {} }, 'diff: there is no option "onProgres". Did you mean onProgress?'],
    ["inspect", { model: "x", rev: "v1" }, 'inspect: there is no option "rev". Did you mean revision?'],
    ["verify", { thresholds: { maxKL: 1 } }, 'verify: thresholds: there is no option "maxKL". Did you mean maxKl?'],
    [
      "verify",
      { generate: { tokens: 1 } },
      'verify: generate: there is no option "tokens". There are data, maxNewTokens.',
    ],
  ])("%s(%j)", async (name, options, message) => {
    const functions: Readonly<Record<string, unknown>> = library;
    const call = functions[name];
    if (typeof call !== "function") throw new Error(`no function ${name}`);
    expect(await refusal(call(options))).toEqual(new library.UsageError(message));
  });

  test.each(Object.entries(OPTIONS_OF))("%s knows the options of its type, and no other", (name, known) => {
    const type = `${name.charAt(0).toUpperCase()}${name.slice(1).replace(/e$/, "")}`;
    const declared = OPTIONS.find((one) => one.name === `${type}eOptions` || one.name === `${type}Options`);
    const [, bases = ""] = /extends ([^{]+) \{/.exec(declared?.text ?? "") ?? [];
    const parts = [declared, ...bases.split(", ").map((base) => OPTIONS.find((one) => one.name === base))];
    const names = parts.flatMap((part) => membersOf(part?.text ?? "").map((member) => member.name));
    expect(Object.keys(known).toSorted()).toEqual(names.toSorted());
  });
});
