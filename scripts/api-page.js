// Writes docs/api.md from the declarations in dist/: functions, options, results, types and errors of the library, as
// their comments in the source describe them. `npm run api` builds first. With --check it writes nothing and fails when
// the page is not what it would write.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readDeclarations, readExports, textOfComment } from "./declarations.js";

const ROOT = join(import.meta.dirname, "..");
const ENTRY = join(ROOT, "dist/index.d.ts");
const PAGE = join(ROOT, "docs/api.md");

/** @typedef {import("./declarations.js").Declaration} Declaration */
/** @typedef {{ name: string, type: string, optional: boolean, text: string, byDefault: string | undefined }} Member */

/** The page as it should be. */
export function apiPage() {
  const exported = readExports(ENTRY).sort(byName);
  const names = new Set(exported.map(({ name }) => name));
  /** @param {Declaration["kind"]} kind */
  const of = (kind) => exported.filter((one) => one.kind === kind);
  const options = of("interface").filter(({ name }) => name.endsWith("Options"));
  const results = of("interface").filter((one) => !options.includes(one));
  const parts = /** @type {const} */ ([
    ["Functions", of("function").map(functionText)],
    ["Options", options.map((one) => interfaceText(one, names))],
    ["Results", results.map((one) => interfaceText(one, names))],
    ["Types", of("type").map((one) => typeText(one, names))],
    ["Errors", [errorsText(of("class"))]],
  ]);
  const head = `# API

What \`create-kv-scales\` exports. [library.md](library.md) shows how it is used. This page is made from the source by
\`npm run api\`: an editor shows the same texts.`;
  const sections = parts.map(([title, texts]) => [`## ${title}`, ...texts].join("\n\n"));
  return formatted(`${[head, ...sections].join("\n\n")}\n`);
}

/** As the linter wants it. @param {string} page */
function formatted(page) {
  const biome = join(ROOT, "node_modules/@biomejs/biome/bin/biome");
  const args = [biome, "format", "--stdin-file-path=docs/api.md"];
  return execFileSync(process.execPath, args, { input: page, encoding: "utf8", cwd: ROOT });
}

/** @param {Declaration} declaration */
function functionText({ name, comment, text }) {
  const signature = text.replace(/^export declare /, "").replace(/\((\w+|\{[^}]*\}): /, "(options: ");
  return [`### ${name}`, `\`\`\`ts\n${signature.trim()}\n\`\`\``, ...paragraphs(comment)].join("\n\n");
}

/** @param {Declaration} declaration @param {ReadonlySet<string>} names */
function interfaceText({ name, comment, text }, names) {
  const [, bases = ""] = /^[^{]*? extends ([^{]+) \{/.exec(text) ?? [];
  const inherited = bases === "" ? [] : [`Has the properties of ${bases.split(", ").map(link).join(" and ")}, too.`];
  const members = membersOf(text).map((member) => memberLine(member, names));
  return [`### ${name}`, ...paragraphs(comment), ...inherited, members.join("\n")].filter(Boolean).join("\n\n");
}

/** @param {Member} member @param {ReadonlySet<string>} names */
function memberLine({ name, type, optional, text, byDefault }, names) {
  const head = `- \`${name}${optional ? "?" : ""}: ${type}\``;
  const words = text === "" ? "" : ` – ${text}`;
  const ending = byDefault === undefined ? "" : ` Default: ${byDefault}.`;
  const types = [...new Set(type.match(/\b[A-Z]\w+/g))].filter((one) => names.has(one));
  const see = types.length === 0 ? "" : ` (${types.map(link).join(", ")})`;
  return `${head}${see}${words}${ending}`;
}

/** @param {Declaration} declaration @param {ReadonlySet<string>} names */
function typeText({ name, comment, text, module }, names) {
  const [, table] = /= keyof typeof (\w+);$/.exec(text.trim()) ?? [];
  const [, list] = /= \(typeof (\w+)\)\[number\];$/.exec(text.trim()) ?? [];
  const members =
    table !== undefined
      ? keysOf(module, table).map((key) => JSON.stringify(key))
      : list !== undefined
        ? (constantOf(module, list)?.text.match(/"[^"]+"/g) ?? [])
        : [];
  const code = members.length === 0 ? text.replace(/^export /, "").trim() : `type ${name} = ${members.join(" | ")};`;
  const types = [...new Set(code.match(/\b[A-Z]\w+/g))].filter((one) => one !== name && names.has(one));
  const see = types.length === 0 ? [] : [`See ${types.map(link).join(", ")}.`];
  return [`### ${name}`, ...paragraphs(comment), `\`\`\`ts\n${code}\n\`\`\``, ...see].join("\n\n");
}

/** Keys of a table that a type is made of. @param {string} module @param {string} table */
function keysOf(module, table) {
  const keys = [...(constantOf(module, table)?.text ?? "").matchAll(/^ {4}readonly (?:"([^"]+)"|(\w+)):/gm)];
  if (keys.length === 0) throw new Error(`${module}: no keys of ${table}`);
  return keys.map(([, quoted, plain]) => quoted ?? plain ?? "");
}

/** A constant that a module declares or imports. @param {string} module @param {string} name */
function constantOf(module, name) {
  const { declarations, imports } = readDeclarations(module);
  return declarations.get(name) ?? readDeclarations(imports.get(name) ?? module).declarations.get(name);
}

/** @param {readonly Declaration[]} classes */
function errorsText(classes) {
  return classes
    .map(({ name, comment, text }) => {
      const [, code] = /exitCode = (\d+);/.exec(text) ?? [];
      return `- \`${name}\`${code === undefined ? "" : `, exit code ${code}`} – ${comment.replaceAll("\n", " ")}`;
    })
    .join("\n");
}

/**
 * The properties of an interface.
 * @param {string} text
 * @returns {Member[]}
 */
export function membersOf(text) {
  const body = text.slice(text.indexOf("{") + 1, text.lastIndexOf("}"));
  const pattern =
    /(?:^ {4}(?<comment>\/\*\*(?:(?!\*\/)[\s\S])*\*\/)\n)?^ {4}(?:readonly )?(?<name>\w+)(?<mark>\??): (?<type>[\s\S]*?);(?: \/\/.*)?\n(?= {4}[^\s}]|$)/gm;
  return [...body.matchAll(pattern)].map(({ groups = {} }) => {
    const comment = textOfComment(groups.comment ?? "");
    const [words = "", byDefault] = comment.split(/\s*@defaultValue\s+/);
    const optional = groups.mark === "?";
    const type = (groups.type ?? "").replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/\s+/g, " ");
    return {
      name: groups.name ?? "",
      type: optional ? type.replace(/ \| undefined$/, "").replace(/^\((.*)\)$/, "$1") : type,
      optional,
      text: words.replaceAll("\n", " "),
      byDefault: byDefault?.replaceAll("\n", " "),
    };
  });
}

/** A comment's sentences, and what it throws. @param {string} comment */
function paragraphs(comment) {
  const [words = "", ...thrown] = comment.replaceAll("\n", " ").split(/\s*@throws /);
  return [words, ...thrown.map((names) => `Throws ${names.replace(/: see errors\.ts$/, "")}.`)].filter(Boolean);
}

/** @param {string} name */
function link(name) {
  return `[${name}](#${name.toLowerCase()})`;
}

/** @param {Declaration} a @param {Declaration} b */
function byName(a, b) {
  return a.name < b.name ? -1 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const page = apiPage();
  if (!process.argv.includes("--check")) writeFileSync(PAGE, page);
  else if (readFileSync(PAGE, "utf8") !== page) {
    process.stderr.write("docs/api.md is not what the source says. Run: npm run api\n");
    process.exitCode = 1;
  }
}
