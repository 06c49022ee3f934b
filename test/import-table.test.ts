// The house as a table: which part may import which. Read off the imports of src/, so that it cannot drift.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/**
 * Each part, the story first, and what it may import beside itself. A name with a slash is one module of a part. Every
 * part may import `errors` and `counted`. A part that is missing here may import nothing: a new one needs a row.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  index: [
    "pipeline",
    "checkpoint",
    "metrics",
    "numerics",
    "graphs/arithmetic",
    "hub/download-files",
    "runtime/providers",
  ],
  "import-in-turn": [],
  cli: [
    "commands",
    "pipeline/tool-version",
    "report/result-json",
    "report/shown-text",
    "report/text-output",
    "interrupts",
  ],
  commands: ["pipeline", "report", "checkpoint/output-formats", "checkpoint/place-file", "numerics/float8"],
  report: ["pipeline", "checkpoint/output-formats", "metrics", "numerics"],
  pipeline: [
    ...["checkpoint", "hub", "architectures", "graphs", "onnx", "runtime", "prompts", "metrics", "numerics"],
    ...["interrupts", "import-in-turn", "closest-name"],
  ],
  hub: ["checkpoint/json-text", "checkpoint/make-folders", "checkpoint/open-checkpoint", "checkpoint/text-files"],
  prompts: ["checkpoint/json-text", "checkpoint/plain-file", "checkpoint/text-files"],
  graphs: ["architectures", "onnx", "numerics"],
  checkpoint: ["numerics"],
  runtime: ["graphs/arithmetic"],
  architectures: [],
  onnx: [],
  metrics: [],
  numerics: [],
  interrupts: [],
  errors: [],
  counted: [],
  "closest-name": [],
};

/** What every part may import. */
const FOR_ALL = ["errors", "counted"];

/** What report takes of the pipeline is the shape of its results, and the library names shapes: neither runs the other. */
const TYPES_ONLY: readonly (readonly [part: string, imported: string])[] = [
  ["report", "pipeline"],
  ...["checkpoint", "metrics", "numerics", "graphs", "hub", "runtime"].map((part) => ["index", part] as const),
];

/** Packages, and the only modules or parts that may import them. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "onnxruntime-node": ["runtime/session"],
  commander: ["cli", "commands"],
  ora: ["report/progress"],
  picocolors: ["commands", "report"],
  "@huggingface/hub": ["hub"],
  "@huggingface/tokenizers": ["prompts/tokenizer-library"],
  "@huggingface/jinja": ["prompts/jinja-template"],
  hyparquet: ["prompts/parquet-rows"],
  "@bufbuild/protobuf": ["onnx/model-proto"],
  "jsonc-parser": ["checkpoint"],
  uplot: ["report/plot-library"],
};

const SOURCE = fileURLToPath(new URL("../src", import.meta.url));

interface Import {
  /** Such as "pipeline/calibrate"; "cli" for a file beside the folders. */
  readonly module: string;
  /** A module of src/, or a package's name. */
  readonly imported: string;
  readonly isPackage: boolean;
  readonly typeOnly: boolean;
}

const MODULES = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.replaceAll("\\", "/").replace(/\.ts$/, ""))
  .sort();
const IMPORTS = MODULES.flatMap(importsOf);

function importsOf(module: string): Import[] {
  const code = readFileSync(join(SOURCE, `${module}.ts`), "utf8").replaceAll(/^\s*(\/\/|\/?\*).*$/gm, "");
  const statements = [...code.matchAll(/^(?:import|export)\s(?<clause>[^;"]*?\sfrom\s)?"(?<path>[^"]+)"/gm)].map(
    ({ groups = {} }) => ({ path: groups.path, typeOnly: isTypeClause(groups.clause ?? "") }),
  );
  const calls = [
    ...code.matchAll(
      /(?<query>typeof )?\b(?:import|require|createRequire\([^)]*\)(?:\.resolve)?)\("(?<path>[^"]+)"\)/g,
    ),
  ].map(({ groups = {} }) => ({ path: groups.path, typeOnly: groups.query !== undefined }));
  return [...statements, ...calls].flatMap(({ path = "", typeOnly }) => {
    if (path.startsWith("node:") || path.endsWith(".json")) return [];
    const isPackage = !path.startsWith(".");
    return [{ module, imported: isPackage ? packageOf(path) : moduleAt(module, path), isPackage, typeOnly }];
  });
}

/** `type { A, B } from`, or braces in which every name has its own `type`. */
function isTypeClause(clause: string): boolean {
  if (/^type\s/.test(clause)) return true;
  const names = /^\{(?<names>[^}]*)\}\s*from\s$/.exec(clause)?.groups?.names?.split(",") ?? [""];
  return (
    names.filter((name) => name.trim() !== "").every((name) => name.trim().startsWith("type ")) && names.length > 1
  );
}

function packageOf(path: string): string {
  return path.split("/", path.startsWith("@") ? 2 : 1).join("/");
}

function moduleAt(module: string, path: string): string {
  return relative(SOURCE, join(SOURCE, dirname(module), path))
    .replaceAll("\\", "/")
    .replace(/\.js$/, "");
}

function partOf(module: string): string {
  return module.split("/")[0] ?? module;
}

/** Whether a list names the module or its part. */
function includesModule(list: readonly string[], module: string): boolean {
  return list.includes(module) || list.includes(partOf(module));
}

const INNER = IMPORTS.filter(({ isPackage }) => !isPackage);
const OUTER = IMPORTS.filter(({ isPackage }) => isPackage);

test("the imports are read: this is what a few files are known to have", () => {
  const of = (module: string) => IMPORTS.filter((entry) => entry.module === module).map(({ imported }) => imported);
  expect(of("cli")).toEqual(expect.arrayContaining(["commander", "commands/calibrate", "errors"]));
  expect(of("runtime/session")).toContain("onnxruntime-node");
  expect(of("pipeline/locate-model")).toContain("hub/download-checkpoint");
  expect(of("index")).toContain("pipeline/calibrate");
  const types = (module: string) =>
    IMPORTS.find((entry) => entry.module === "pipeline/segment-plan" && entry.imported === module)?.typeOnly;
  expect([types("graphs/segment-parts"), types("architectures/description")]).toEqual([false, true]);
});

test("every part has a row, and every row a part", () => {
  expect(Object.keys(MAY_IMPORT).toSorted()).toEqual([...new Set(MODULES.map(partOf))].toSorted());
});

describe.each(Object.entries(MAY_IMPORT))("%s imports", (part, allowed) => {
  const imports = INNER.filter(({ module, imported }) => partOf(module) === part && partOf(imported) !== part);

  test(`nothing but ${[...FOR_ALL, ...allowed].join(", ")}`, () => {
    const others = imports.filter(({ imported }) => !includesModule([...FOR_ALL, ...allowed], imported));
    expect(others.map(({ module, imported }) => `${module} → ${imported}`)).toEqual([]);
  });
});

test("the table allows nothing that is not used", () => {
  const unused = Object.entries(MAY_IMPORT).flatMap(([part, allowed]) => {
    const imported = INNER.filter(({ module }) => partOf(module) === part).map((entry) => entry.imported);
    return allowed
      .filter((name) => !imported.some((module) => includesModule([name], module)))
      .map((name) => `${part} → ${name}`);
  });
  expect(unused).toEqual([]);
});

test("the table has no cycle: what imports a part is imported by none that the part imports", () => {
  expect(cyclesOf(Object.keys(MAY_IMPORT), (part) => (MAY_IMPORT[part] ?? []).map(partOf))).toEqual([]);
});

test("no module imports itself in a roundabout way, types aside", () => {
  const atRunTime = INNER.filter(({ typeOnly }) => !typeOnly);
  const importedBy = (module: string) =>
    atRunTime.filter((entry) => entry.module === module).map(({ imported }) => imported);
  expect(cyclesOf(MODULES, importedBy)).toEqual([]);
});

/** Names from which a walk along the arrows comes back to them. */
function cyclesOf(names: readonly string[], next: (name: string) => readonly string[]): string[] {
  return names.filter((start) => {
    const reached = new Set<string>();
    const waiting = [...next(start)];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (reached.has(name)) continue;
      reached.add(name);
      waiting.push(...next(name));
    }
    return reached.has(start);
  });
}

test.each(TYPES_ONLY)("%s imports nothing of %s but types", (part, imported) => {
  const values = INNER.filter(
    (entry) => partOf(entry.module) === part && partOf(entry.imported) === imported && !entry.typeOnly,
  );
  expect(values.map((entry) => `${entry.module} → ${entry.imported}`)).toEqual([]);
});

describe.each(Object.entries(PACKAGES))("%s", (name, importers) => {
  test(`is imported by ${importers.join(" and ")} alone`, () => {
    const modules = OUTER.filter(({ imported }) => imported === name).map(({ module }) => module);
    expect(modules.length).toBeGreaterThan(0);
    expect(modules.filter((module) => !includesModule(importers, module))).toEqual([]);
  });
});

test("no other package is imported, and every dependency of package.json is", () => {
  const { dependencies } = JSON.parse(readFileSync(join(SOURCE, "../package.json"), "utf8")) as {
    dependencies: object;
  };
  const imported = [...new Set(OUTER.map((entry) => entry.imported))].toSorted();
  expect(imported).toEqual(Object.keys(PACKAGES).toSorted());
  expect(imported).toEqual(Object.keys(dependencies).toSorted());
});
