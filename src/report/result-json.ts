// The JSON document that --json prints, described by a schema in schemas/. Knows no command.

import { KvScalesError } from "../errors.js";
import { jsonDocument } from "./shown-text.js";

/** Version of every document. Raised when a key goes away or changes its meaning, not for a new key. */
const SCHEMA_VERSION = 1;

/** A result as JSON with a final line break. Keys are stable. */
export function resultJson(result: object): string {
  return jsonDocument({ schema_version: SCHEMA_VERSION, ...result });
}

/** The document for a failure. @param failure what went wrong, and the exit code that says so */
export function failureJson({ error, exitCode }: { readonly error: unknown; readonly exitCode: number }): string {
  const kind = error instanceof KvScalesError ? error.name : "Bug";
  const message = error instanceof Error ? error.message : String(error);
  return resultJson({ error: { kind, exit_code: exitCode, message: message.trimEnd() } });
}
