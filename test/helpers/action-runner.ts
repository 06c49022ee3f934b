// Runs action.yml as GitHub's runner does, as far as it needs: expressions, outputs, files that steps write to, bash with the
// runner's flags. Steps that use other actions are noted, not run; npx is the built program.

import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { PROGRAM, REPOSITORY, startProgram } from "./run-cli.js";

export interface Step {
  readonly name: string;
  readonly id?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly shell?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly run?: string;
}

interface Action {
  readonly name: string;
  readonly description: string;
  readonly inputs: Readonly<Record<string, { readonly description: string; readonly default?: string }>>;
  readonly outputs: Readonly<Record<string, { readonly description: string; readonly value: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}

export const ACTION = parse(readFileSync(join(REPOSITORY, "action.yml"), "utf8")) as Action;

export interface ActionRun {
  readonly exitCode: number | null;
  readonly outputs: Readonly<Record<string, string>>;
  /** The job's summary. */
  readonly summary: string;
  readonly stderr: string;
  /** Names of the steps that were begun. */
  readonly steps: readonly string[];
  /** What the steps that use other actions were given. */
  readonly used: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** What npx was asked to run. */
  readonly packages: readonly string[];
}

/** @param root a folder for all that the run writes; the workspace is in it */
export async function runAction(
  root: string,
  inputs: Readonly<Record<string, string>>,
  variables: Readonly<Record<string, string>> = {},
): Promise<ActionRun> {
  const at = (name: string) => join(root, name);
  for (const folder of ["workspace", "temp", "bin", "home"]) mkdirSync(at(folder), { recursive: true });
  writeFileSync(at("summary.md"), "");
  writeFileSync(at("packages.txt"), "");
  putNpx(at("bin"), at("packages.txt"));

  const defaults = Object.entries(ACTION.inputs).map(([name, input]) => [name, input.default ?? ""]);
  const context = new Map<string, string>([
    ["runner.os", "Linux"],
    ...[...defaults, ...Object.entries(inputs)].map(([name, value]) => [`inputs.${name}`, value ?? ""] as const),
  ]);
  const run = { exitCode: 0 as number | null, stderr: "", steps: [] as string[] };
  const used: Record<string, Record<string, string>> = {};
  for (const step of ACTION.runs.steps) {
    if (step.if !== undefined && !holds(step.if, context)) continue;
    run.steps.push(step.name);
    if (step.uses !== undefined) {
      const given = Object.entries(step.with ?? {}).map(([key, text]) => [key, fill(text, context)]);
      used[step.uses.replace(/@.*/, "")] = Object.fromEntries(given);
      continue;
    }
    const outputs = at(`outputs-${run.steps.length}`);
    writeFileSync(outputs, "");
    writeFileSync(at("script.sh"), step.run ?? "");
    const env = Object.entries(step.env ?? {}).map(([key, text]) => [key, fill(text, context)]);
    const { exitCode, stderr } = await startProgram(
      "bash",
      ["--noprofile", "--norc", "-eo", "pipefail", at("script.sh")],
      {
        cwd: at("workspace"),
        env: {
          ...{ PATH: `${at("bin")}:${process.env.PATH}`, HOME: at("home"), RUNNER_TEMP: at("temp") },
          ...{ GITHUB_OUTPUT: outputs, GITHUB_STEP_SUMMARY: at("summary.md"), GITHUB_ACTION_PATH: REPOSITORY },
          ...variables,
          ...Object.fromEntries(env),
        },
      },
    ).done;
    run.stderr += stderr;
    for (const [name, value] of readOutputs(outputs)) context.set(`steps.${step.id}.outputs.${name}`, value);
    run.exitCode = exitCode;
    if (exitCode !== 0) break;
  }
  const outputs = Object.entries(ACTION.outputs).map(([name, { value }]) => [name, fill(value, context)]);
  const packages = readFileSync(at("packages.txt"), "utf8").trim().split("\n");
  const summary = readFileSync(at("summary.md"), "utf8");
  return { ...run, outputs: Object.fromEntries(outputs), summary, used, packages };
}

/** Puts an npx into a folder that runs the built program, and notes the package that was asked for. @param more options */
export function putNpx(folder: string, packages: string, more = ""): void {
  const npx = `#!/usr/bin/env bash
[[ $1 == --yes ]] || exit 99
printf '%s\\n' "$2" >> ${packages}
exec ${process.execPath} ${PROGRAM} "\${@:3}" ${more}
`;
  writeFileSync(join(folder, "npx"), npx);
  chmodSync(join(folder, "npx"), 0o755);
}

/** The references in a text with `${{ }}`. */
export function referencesIn(text: string): string[] {
  return [...text.matchAll(/\$\{\{ ([\w.-]+) \}\}/g)].map(([, reference = ""]) => reference);
}

function fill(text: string, context: ReadonlyMap<string, string>): string {
  return text.replaceAll(/\$\{\{ ([\w.-]+) \}\}/g, (_, reference: string) => context.get(reference) ?? "");
}

/** `a == 'text'` or `a != 'text'`: other conditions are not known here. */
function holds(condition: string, context: ReadonlyMap<string, string>): boolean {
  const parts = /^([\w.-]+) (==|!=) '([^']*)'$/.exec(condition);
  if (parts === null) throw new Error(`cannot judge "if: ${condition}"`);
  const [, reference = "", operator, text] = parts;
  return ((context.get(reference) ?? "") === text) === (operator === "==");
}

/** Of a file that a step has written: `name<<END`, lines, `END`. */
function readOutputs(path: string): Map<string, string> {
  const outputs = new Map<string, string>();
  const lines = readFileSync(path, "utf8").split("\n");
  for (let line = lines.shift(); line !== undefined && line !== ""; line = lines.shift()) {
    const [, name, end] = /^([\w-]+)<<(.+)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`a line of GITHUB_OUTPUT that opens no value: ${line}`);
    const length = lines.indexOf(end ?? "");
    outputs.set(name, lines.splice(0, length).join("\n"));
    lines.shift();
  }
  return outputs;
}
