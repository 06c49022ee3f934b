// What stands on stdout with --json: one document, whose form a schema in schemas/ describes. Knows no command.

import { KvScalesError } from "../errors.js";
import { jsonDocument } from "./shown-text.js";

/** Of every document on stdout. To be raised when a key goes away or gets another meaning; a new key does not raise it. */
const SCHEMA_VERSION = 1;

/** A result, as JSON with a line break behind it. Keys are stable. */
export function resultJson(result: object): string {
  return jsonDocument({ schema_version: SCHEMA_VERSION, ...result });
}

/**
 * What stands there instead when there is no result. @param failure what went wrong, and the exit code that says so
 */
export function failureJson({ error, exitCode }: { readonly error: unknown; readonly exitCode: number }): string {
  const kind = error instanceof KvScalesError ? error.name : "Bug";
  const message = error instanceof Error ? error.message : String(error);
  return resultJson({ error: { kind, exit_code: exitCode, message: message.trimEnd() } });
}
