// The JSON Schemas that ship with the package, as validators. Knows which command prints what.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";

const FOLDER = join(import.meta.dirname, "../../schemas");

/** Names of all schemas, without `.json`. */
export const SCHEMA_NAMES = readdirSync(FOLDER).map((file) => file.replace(/\.json$/, ""));

const COMMANDS: readonly string[] = ["convert", "inspect", "diff", "verify", "providers", "architectures"];
const ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true });
const validators = new Map<string, ReturnType<typeof ajv.compile>>();

/** The text of a schema. */
export function readSchema(name: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8"));
}

/** What is wrong with a document by a schema; empty when it is valid. */
export function schemaErrors(name: string, document: unknown): string[] {
  const validate = validators.get(name) ?? ajv.compile(Object(readSchema(name)));
  validators.set(name, validate);
  if (validate(document)) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${name}.json: ${instancePath} ${message} ${JSON.stringify(params)}`,
  );
}

/** Throws unless what a run with --json has printed is one document that its schema describes. */
export function requireDescribedJson(args: readonly string[], stdout: string): void {
  const options = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  if (!options.includes("--json") || stdout === "") return;
  const document: unknown = JSON.parse(stdout);
  const isFailure = typeof document === "object" && document !== null && "error" in document;
  const isDryRun = options.includes("--dry-run");
  const command = COMMANDS.find((name) => name === args[0]) ?? "calibrate";
  const errors = schemaErrors(isFailure ? "error" : isDryRun ? "dry-run" : command, document);
  if (errors.length > 0) throw new Error(`create-kv-scales ${args.join(" ")}:\n${errors.join("\n")}`);
}
