// Reads what the package exports from its declarations (dist/*.d.ts): names, comments and texts. Knows the layout that tsc
// gives them, in which every statement begins at the start of a line.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * @typedef {object} Declaration
 * @property {string} name
 * @property {"function" | "class" | "interface" | "type" | "const"} kind
 * @property {string} module path of the file
 * @property {string} comment without its stars; empty when there is none
 * @property {string} text the statement
 */

/**
 * What a module declares and imports.
 * @param {string} path
 * @returns {{ declarations: Map<string, Declaration>, imports: Map<string, string> }} imports: module by name
 */
export function readDeclarations(path) {
  /** @type {Map<string, Declaration>} */
  const declarations = new Map();
  /** @type {Map<string, string>} */
  const imports = new Map();
  let comment = "";
  for (const statement of statementsOf(readFileSync(path, "utf8"))) {
    if (statement.startsWith("/**")) {
      comment = textOfComment(statement);
      continue;
    }
    const [, names = "", from = ""] = /^(?:import|export)[^"]*\{([^}]*)\} from "(\.[^"]*)"/s.exec(statement) ?? [];
    for (const name of namesIn(names)) imports.set(name, join(dirname(path), from.replace(/\.js$/, ".d.ts")));
    const [, kind, name] =
      /^(?:export )?(?:declare )?(?:abstract )?(function|class|interface|type|const) (\w+)/.exec(statement) ?? [];
    if (name !== undefined && from === "") {
      const known = /** @type {Declaration["kind"]} */ (kind);
      declarations.set(name, { name, kind: known, module: path, comment, text: statement });
    }
    comment = "";
  }
  return { declarations, imports };
}

/**
 * Everything that the package's entry exports, in the order of its names.
 * @param {string} entry path of index.d.ts
 * @returns {Declaration[]}
 */
export function readExports(entry) {
  const { imports } = readDeclarations(entry);
  return [...imports].map(([name, module]) => {
    const declaration = readDeclarations(module).declarations.get(name);
    if (declaration === undefined) throw new Error(`${module} does not declare ${name}`);
    return declaration;
  });
}

/**
 * Types that an exported declaration names and that the entry does not export.
 * @param {readonly Declaration[]} exported
 * @returns {string[]} such as "CalibrationResult → Placement"
 */
export function hiddenTypes(exported) {
  const names = new Set(exported.map(({ name }) => name));
  return exported.flatMap(({ name, module, text }) => {
    const { declarations, imports } = readDeclarations(module);
    const mentioned = new Set(withoutTexts(text).match(/\b[A-Z][A-Za-z]\w*\b/g));
    const ours = [...mentioned].filter((type) => declarations.get(type)?.kind !== "const");
    return ours
      .filter((type) => !names.has(type) && (declarations.has(type) || imports.has(type)))
      .filter((type) => !/^[A-Z0-9_]+$/.test(type))
      .map((type) => `${name} → ${type}`);
  });
}

/** @param {string} text */
function withoutTexts(text) {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/"[^"\n]*"/g, '""');
}

/** @param {string} file */
function statementsOf(file) {
  /** @type {string[]} */
  const statements = [];
  for (const part of file.split(/\n(?=(?:export|import|declare|interface|type|class|abstract|const)\b|\/\*\*)/)) {
    const last = statements.at(-1);
    // A type of several texts has comments between them.
    const isOpen = last !== undefined && /^(?:export )?(?:declare )?type\b/.test(last) && !last.trim().endsWith(";");
    if (isOpen) statements[statements.length - 1] = `${last}\n${part}`;
    else statements.push(part);
  }
  return statements;
}

/** @param {string} list such as "type A, b as c" */
function namesIn(list) {
  return list.split(",").flatMap((part) => /(\w+)\s*$/.exec(part)?.[1] ?? []);
}

/** @param {string} comment */
export function textOfComment(comment) {
  return comment
    .replace(/^\s*\/\*\*/, "")
    .replace(/\s*\*\/\s*$/, "")
    .replaceAll(/^\s*\* ?/gm, "")
    .trim();
}
