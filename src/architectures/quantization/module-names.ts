// Which modules a quantization_config names: whole names, names with wildcards, and regular expressions of strangers, which
// are given little time. Knows no method and no tensor.

import { createContext, Script } from "node:vm";
import { UnsupportedModelError } from "../../errors.js";

/** How a list names modules. */
export type NameSyntax =
  /** compressed-tensors: whole names, and regular expressions behind "re:" that match from the beginning. */
  | "compressed-tensors"
  /** ModelOpt: whole names, of a module or of one that it is in, with * for anything. */
  | "wildcards"
  /**
   * transformers: a name or regular expression from the beginning up to the end of a part of the name, or its last
   * letters.
   */
  | "transformers";

/** Of all names and expressions together. Those of real checkpoints take a few milliseconds. */
const TIME_LIMIT_MS = 1000;

/**
 * The modules that a list names.
 * @param modules names as in the checkpoint
 * @param where the list's key, for messages
 * @throws UnsupportedModelError for an expression that is none, or takes too long
 */
export function namedModules(
  modules: readonly string[],
  list: readonly string[],
  syntax: NameSyntax,
  where: string,
): ReadonlySet<string> {
  const literals = new Set(list.filter((entry) => !isExpression(entry, syntax)));
  const expressions = list.filter((entry) => isExpression(entry, syntax)).map((entry) => expressionOf(entry, syntax));
  const byLiteral = modules.filter((module) => namesOf(module).some((name) => isNamed(name, literals, syntax)));
  if (expressions.length === 0) return new Set(byLiteral);
  const aliases = modules.map((module) => namesOf(module));
  const indices = new Set(matching(aliases, expressions, where));
  return new Set([...byLiteral, ...modules.filter((_, index) => indices.has(index))]);
}

function isExpression(entry: string, syntax: NameSyntax): boolean {
  if (syntax === "compressed-tensors") return entry.startsWith("re:");
  return syntax === "wildcards" ? entry.includes("*") : /[\\*+?[\](){}|^$]/.test(entry);
}

function isNamed(name: string, literals: ReadonlySet<string>, syntax: NameSyntax): boolean {
  if (literals.size === 0) return false;
  if (literals.has(name)) return true;
  if (syntax === "compressed-tensors") return false;
  const parts = name.split(".");
  return parts.some((_, count) => {
    const isIn = literals.has(parts.slice(0, count + 1).join("."));
    return isIn || (syntax === "transformers" && literals.has(parts.slice(count).join(".")));
  });
}

function expressionOf(entry: string, syntax: NameSyntax): string {
  switch (syntax) {
    case "compressed-tensors":
      return `^(?:${entry.slice("re:".length)})`;
    case "wildcards":
      return `^${entry.replace(/[\\+?[\](){}|^$.]/g, "\\$&").replaceAll("*", ".*")}$`;
    case "transformers":
      return `^(?:${entry})(?:(?<=\\.)|(?=\\.|$))`;
  }
}

/** Names of one module: a multimodal model's decoder is called otherwise by older code, and by the model alone. */
const DECODERS_IN_MODELS = ["model.language_model.", "language_model.model.", "model."];

function namesOf(module: string): string[] {
  const prefix = DECODERS_IN_MODELS.find((start) => module.startsWith(start));
  if (prefix === undefined || prefix === "model.") return [module];
  return DECODERS_IN_MODELS.map((start) => `${start}${module.slice(prefix.length)}`);
}

/** The numbers of those of which any name matches any expression. */
function matching(names: readonly (readonly string[])[], expressions: readonly string[], where: string): number[] {
  for (const expression of expressions) {
    try {
      new RegExp(expression);
    } catch {
      throw new UnsupportedModelError(`${where}: ${JSON.stringify(expression)} is no regular expression of JavaScript`);
    }
  }
  const script = new Script(
    `const tests = expressions.map((expression) => new RegExp(expression));
    names.flatMap((all, index) => (all.some((name) => tests.some((test) => test.test(name))) ? [index] : []));`,
  );
  try {
    const found: unknown = script.runInContext(createContext({ names, expressions }), { timeout: TIME_LIMIT_MS });
    return Array.isArray(found) ? found : [];
  } catch (cause) {
    throw new UnsupportedModelError(
      `${where}: the regular expressions took longer than ${TIME_LIMIT_MS / 1000} seconds for ${names.length} modules`,
      { cause },
    );
  }
}
