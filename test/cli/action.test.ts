// action.yml: its form, that no input is ever read as code, and its steps in an imitated runner, with the built program.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ACTION, putNpx, referencesIn, runAction } from "../helpers/action-runner.js";
import { requireDescribedJson } from "../helpers/json-schemas.js";
import { REPOSITORY, startProgram } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";
import { MANIFEST } from "../helpers/staged-package.js";

const STEPS = ACTION.runs.steps;
const EXAMPLE = join(REPOSITORY, "examples/tiny-llama");

describe("the form", () => {
  test("is that of a composite action, every input and output described", () => {
    expect(Object.keys(ACTION)).toEqual(["name", "description", "inputs", "outputs", "runs"]);
    expect(ACTION.runs.using).toBe("composite");
    for (const { description } of [...Object.values(ACTION.inputs), ...Object.values(ACTION.outputs)]) {
      expect(description).toMatch(/^[A-Z].*\.$/);
    }
  });

  test("every step runs bash or uses an action of a fixed major version", () => {
    for (const { name, run, shell, uses } of STEPS) {
      expect({ name, ok: run === undefined ? /^actions\/[\w-]+@v\d+$/.test(uses ?? "") : shell === "bash" }).toEqual({
        name,
        ok: true,
      });
    }
  });

  test("no script holds an expression: what is in an input stays text", () => {
    for (const { run = "" } of STEPS) expect(run).not.toContain("${{");
    for (const { env = {} } of STEPS) {
      for (const value of Object.values(env))
        expect(value).toMatch(/^\$\{\{ (inputs|steps\.\w+\.outputs)\.[\w-]+ \}\}$/);
    }
  });

  test("every input is used, and what is referred to is there", () => {
    const texts = STEPS.flatMap((step) => [...Object.values(step.env ?? {}), ...Object.values(step.with ?? {})]);
    const conditions = STEPS.flatMap((step) => (step.if === undefined ? [] : [`\${{ ${step.if.split(" ")[0]} }}`]));
    const values = Object.values(ACTION.outputs).map(({ value }) => value);
    const references = [...texts, ...conditions, ...values].flatMap(referencesIn);
    const inputs = references.filter((name) => name.startsWith("inputs.")).map((name) => name.slice("inputs.".length));
    expect([...new Set(inputs)].toSorted()).toEqual(Object.keys(ACTION.inputs).toSorted());
    const written = STEPS.flatMap(({ id, run = "" }) =>
      [...run.matchAll(/set_output ([\w-]+) /g)].map(([, name]) => `steps.${id}.outputs.${name}`),
    );
    const read = references.filter((name) => name.startsWith("steps."));
    expect(read.filter((name) => !written.includes(name))).toEqual([]);
  });

  test("every script is bash", () => {
    for (const { run } of STEPS) if (run !== undefined) execFileSync("bash", ["-n"], { input: run });
  });
});

/** A few short lines, from a text each: enough for a verdict in a second or two. */
function textIn(root: string): string {
  mkdirSync(join(root, "workspace"), { recursive: true });
  const rows = readFileSync(join(REPOSITORY, "calibration-data/held-out/held-out.jsonl"), "utf8").split("\n");
  const texts = rows.slice(0, 8).map((row) => (JSON.parse(row) as { text: string }).text);
  const lines = texts.map((text) => text.replaceAll("\n", " ").slice(0, 160));
  writeFileSync(join(root, "workspace/some text.txt"), lines.join("\n"));
  writeFileSync(join(root, "workspace/one text.txt"), lines[0] ?? "");
  return "some text.txt";
}

describe("in a runner", () => {
  test("a checkpoint is calibrated and verified: outputs, files, and the job's summary", async () => {
    const root = temporaryFolder();
    const data = textIn(root);
    const run = await runAction(root, {
      ...{ model: EXAMPLE, data, format: "vllm", output: "the result", "verify-data": data },
      ...{ samples: "4", "sequence-length": "64", "verify-sequence-length": "64" },
    });
    expect({ exitCode: run.exitCode, stderr: run.exitCode === 0 ? "" : run.stderr }).toEqual({
      exitCode: 0,
      stderr: "",
    });
    expect(run.steps).toEqual(["Set up Node.js", "Plan", "Calibrate", "Verify"]);
    expect(run.packages).toEqual(Array.from({ length: 2 }, () => `create-kv-scales@${MANIFEST.version}`));
    const { output = "", calibration = "", verification = "", report = "", verdict } = run.outputs;
    expect(output).toMatch(/workspace\/the result$/);
    expect(existsSync(join(output, "kv_scales.json"))).toBe(true);
    requireDescribedJson(["--json"], readFileSync(calibration, "utf8"));
    requireDescribedJson(["verify", "--json"], readFileSync(verification, "utf8"));
    expect(["ship", "scale-1-does-as-well"]).toContain(verdict);
    expect(run.summary).toBe(readFileSync(report, "utf8"));
    expect(run.summary).toContain("| fp8");

    const gate = { ...{ model: EXAMPLE, data, output: "the result", force: "true" }, "verify-data": data };
    const few = { samples: "4", "sequence-length": "64", "verify-sequence-length": "64" };
    const short = { "verify-data": "one text.txt", "allow-inconclusive": "true" };
    const allowed = await runAction(root, { ...gate, ...few, ...short });
    expect({ exitCode: allowed.exitCode, verdict: allowed.outputs.verdict }).toEqual({
      exitCode: 0,
      verdict: "inconclusive",
    });
    const failed = await runAction(root, { ...gate, ...few, "max-kl": "0" });
    expect({ exitCode: failed.exitCode, verdict: failed.outputs.verdict }).toEqual({
      exitCode: 6,
      verdict: "too-costly",
    });
    expect(failed.stderr).toMatch(/^Error: Verification failed: /m);
    expect(failed.summary).toBe(readFileSync(failed.outputs.report ?? "", "utf8"));
  });

  test("a failure is the program's exit code, and nothing is verified", async () => {
    const run = await runAction(temporaryFolder(), { model: "./none" });
    expect(run).toMatchObject({ exitCode: 3, steps: ["Set up Node.js", "Plan", "Calibrate"] });
    expect(run.stderr).toMatch(/^Error: /m);
    expect(run.outputs).toMatchObject({ output: "", verdict: "" });
  });

  test("the hub's files are cached by model and revision; a folder's are not", async () => {
    const variables = { HF_ENDPOINT: "http://127.0.0.1:9", HF_HUB_CACHE: "/tmp/the-cache" };
    for (const [inputs, key] of [
      [{ model: "acme/tiny" }, "acme--tiny@main"],
      [{ model: "acme/tiny", revision: "v1" }, "acme--tiny@v1"],
      [{ model: "acme/tiny@v2" }, "acme--tiny@v2"],
    ] as const) {
      const { used, exitCode } = await runAction(temporaryFolder(), inputs, variables);
      expect(exitCode).toBe(3);
      expect(used["actions/cache"]).toEqual({
        path: "/tmp/the-cache/models--acme--tiny",
        key: `create-kv-scales-Linux-${key}`,
      });
    }
  });

  const HOSTILE = ["$(touch pwned)", "'; touch pwned; '", '"; touch pwned; "', "--help"];
  test.each(HOSTILE)("an input is never code: %s", async (text) => {
    const others = ["output", "data", "version"].map((name) => ({ model: "x", [name]: text }));
    const root = temporaryFolder();
    for (const inputs of [{ model: text }, ...(text === HOSTILE[0] ? others : [])]) {
      const { exitCode } = await runAction(root, inputs);
      expect([2, 3]).toContain(exitCode);
      expect(readdirSync(join(root, "workspace"))).toEqual([]);
    }
  });
});

describe("docs/ci.md", () => {
  const PAGE = readFileSync(join(REPOSITORY, "docs/ci.md"), "utf8");
  const blocks = (language: string) =>
    [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, code = ""]) => code);
  const [github = "", gitlab = ""] = blocks("yaml");
  const [shell = ""] = blocks("bash");

  async function runScript(script: string, env: Readonly<Record<string, string>> = {}, more = "") {
    const root = temporaryFolder();
    writeFileSync(join(root, "packages.txt"), "");
    writeFileSync(join(root, "script.sh"), script);
    putNpx(root, join(root, "packages.txt"), `--samples 4 --sequence-length 64 ${more}`);
    const path = `${root}:${process.env.PATH}`;
    const result = await startProgram("bash", ["-eo", "pipefail", join(root, "script.sh"), EXAMPLE], {
      cwd: root,
      env: { ...env, PATH: path },
    }).done;
    const packages = readFileSync(join(root, "packages.txt"), "utf8").trim().split("\n");
    expect([...new Set(packages)]).toEqual([`create-kv-scales@${MANIFEST.version}`]);
    return { ...result, root };
  }

  test("lists every input and output of the action, with its default", () => {
    const rows = [...PAGE.matchAll(/^\| (`[a-z-]+`(?:, `[a-z-]+`)*) +\| (.*?) +\|/gm)];
    const names = rows.flatMap(([, cell = ""]) => [...cell.matchAll(/`([a-z-]+)`/g)].map(([, name = ""]) => name));
    expect(names.toSorted()).toEqual([...Object.keys(ACTION.inputs), ...Object.keys(ACTION.outputs)].toSorted());
    for (const [name, input] of Object.entries(ACTION.inputs)) {
      const row = rows.find(([, cell = ""]) => cell.includes(`\`${name}\``));
      if (input.default !== undefined) expect(row?.[2]).toBe(`\`${input.default}\``);
    }
  });

  test("its workflow gives the action inputs that it has", () => {
    const { jobs } = parse(github) as { jobs: Record<string, { steps: { with?: Record<string, string> }[] }> };
    const [step] = Object.values(jobs).flatMap(({ steps }) => steps);
    expect(Object.keys(ACTION.inputs)).toEqual(expect.arrayContaining(Object.keys(step?.with ?? {})));
    const outputs = [...github.matchAll(/steps\.kv-scales\.outputs\.([\w-]+)/g)].map(([, name]) => name);
    expect(Object.keys(ACTION.outputs)).toEqual(expect.arrayContaining(outputs));
  });

  test("GitLab's script runs and leaves the reports that it names", async () => {
    const { "kv-scales": job } = parse(gitlab) as {
      "kv-scales": { script: string[]; artifacts: { reports: { junit: string } } };
    };
    const script = job.script.join("\n").replace(' --revision "$REVISION"', "");
    const { exitCode, root } = await runScript(script, { MODEL: EXAMPLE });
    expect(exitCode).toBe(0);
    expect(readdirSync(root)).toEqual(
      expect.arrayContaining([job.artifacts.reports.junit, "verification.md", "result"]),
    );
  });

  test("the plain shell's script says where the result is, or why there is none", async () => {
    const { exitCode, stdout, root } = await runScript(shell);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${join(root, "tiny-llama-FP8-KV")}\n` });
  });
});
