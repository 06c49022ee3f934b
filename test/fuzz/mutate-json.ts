// Changes JSON as its grammar has it: other types and numbers in the place of a value, keys gone, doubled, renamed or
// exchanged, deep nests; sometimes the text itself. Knows nothing of what the keys mean.

import { parsePythonJson } from "../../src/checkpoint/json-text.js";
import type { Random } from "./random.js";

type Json = unknown;
type Container = Record<string | number, Json>;

/** What stands in for a value: each was an error of some program once. */
const ODD_VALUES: readonly [Json, ...Json[]] = [
  null,
  ...[true, false, "", "a", [], {}, [[]], [{}], [null], { a: null }],
  ...[0, -0, 1, -1, 0.5, 1e-300, 1e300, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 2 ** 53 - 1, 10_000, 4096],
  // String() fails on these.
  { toString: 1, valueOf: 1 },
  [{ toString: null, valueOf: null }],
  ...["__proto__", "constructor", "toString", "NaN", "../x", "a/b", "\0", "\ud800", "\u001b[31m", "𝕏", "a".repeat(300)],
  { __proto__of: 1, constructor: null, length: 1e9 },
  { length: 4294967295 },
  Array.from({ length: 100 }, (_, index) => index),
];

/** Texts that JSON.stringify never writes. */
const ODD_TEXTS: readonly [string, ...string[]] = [
  "1e999",
  "-1e999",
  "NaN",
  "Infinity",
  "01",
  "'a'",
  "\\",
  '"\\ud800"',
  "/**/",
  ",",
  "\ufeff",
];

const EXTREME = 0.002;

/** A text of JSON that differs from the seed's in one to four places. */
export function mutateJson(random: Random, seed: string): string {
  const json: Container = { root: parsePythonJson("seed", seed) };
  for (let changes = 1 + random.below(4); changes > 0; changes--) mutateTree(random, json);
  const text = JSON.stringify(json.root, null, random.chance(0.3) ? 1 : undefined) ?? "";
  return random.chance(0.15) ? mutateText(random, text) : text;
}

function mutateTree(random: Random, json: Container): void {
  const { parent, key } = pickPlace(random, json);
  const value = parent[key];
  switch (random.below(9)) {
    case 0:
    case 1:
      parent[key] = structuredClone(random.pick(ODD_VALUES));
      break;
    case 2:
      if (Array.isArray(parent)) parent.splice(Number(key), 1);
      else delete parent[key];
      break;
    case 3:
      parent[key] = random.chance(EXTREME) ? nest(value, 300) : random.chance(0.5) ? [value] : { [key]: value };
      break;
    case 4: {
      const other = pickPlace(random, json);
      const copy = structuredClone(other.parent[other.key]);
      if ((JSON.stringify(copy) ?? "").length < 20_000) parent[key] = copy;
      break;
    }
    case 5:
      define(parent, random.pick(["__proto__", "a", "", "toString", "weight_map", "quant_method", "length"]), value);
      break;
    case 6:
      if (typeof value === "number") parent[key] = changeNumber(random, value);
      else if (typeof value === "string") parent[key] = changeString(random, value);
      else parent[key] = structuredClone(random.pick(ODD_VALUES));
      break;
    case 7:
      if (Array.isArray(value)) value.push(...value.slice(0, 1 + random.below(3)));
      else if (isContainer(value)) define(value, `${random.pick(Object.keys(value)) ?? ""}.${random.below(10)}`, 1);
      else parent[key] = String(JSON.stringify(value));
      break;
    default:
      parent[key] = typeof value === "string" ? Number(value) || 0 : JSON.stringify(value);
  }
}

/** A value somewhere in the tree, near its root as likely as far down. */
function pickPlace(random: Random, json: Container): { parent: Container; key: string } {
  let [parent, key] = [json, "root"];
  for (;;) {
    const value = parent[key];
    if (!isContainer(value) || random.chance(0.15)) return { parent, key };
    const below = random.pick(Object.keys(value));
    if (below === undefined) return { parent, key };
    [parent, key] = [value, below];
  }
}

function isContainer(value: Json): value is Container {
  return typeof value === "object" && value !== null;
}

/** Also where the key is __proto__. */
function define(target: Container, key: string, value: Json): void {
  if (Array.isArray(target)) return;
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

function nest(value: Json, depth: number): Json {
  let nested = value;
  for (let level = 0; level < depth; level++) nested = level % 2 === 0 ? [nested] : { a: nested };
  return nested;
}

function changeNumber(random: Random, value: number): Json {
  return random.pick<Json>([
    value + 1,
    value - 1,
    -value,
    value * 2,
    value / 3,
    value * 2 ** 40,
    String(value),
    [value],
  ]);
}

function changeString(random: Random, value: string): string {
  const at = random.below(value.length + 1);
  switch (random.below(5)) {
    case 0:
      return value.slice(0, at) + value.slice(at + 1 + random.below(4));
    case 1:
      return (
        value.slice(0, at) + random.pick([".", "/", "0", "é", "\u001b", "\n", "_proj", "k_scale"]) + value.slice(at)
      );
    case 2:
      return value + value;
    case 3:
      return random.chance(EXTREME) ? value.repeat(10_000) : value.toUpperCase();
    default:
      return value.replace(/\d+/, (digits) => random.pick([`${Number(digits) + 1}`, "99999999999999999999", "-1", ""]));
  }
}

/** Changes text as text: cut, doubled, and with what is not JSON in it. */
export function mutateText(random: Random, text: string): string {
  const at = random.below(text.length + 1);
  const end = Math.min(text.length, at + random.below(40));
  switch (random.below(7)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + text.slice(end);
    case 2:
      return text.slice(0, at) + random.pick(ODD_TEXTS) + text.slice(end);
    case 3:
      return text.slice(0, end) + text.slice(at, end).repeat(1 + random.below(9)) + text.slice(end);
    case 4:
      return text.slice(0, at) + random.pick(["[", "{", '"', ":", "{}", "\n", " "]) + text.slice(at);
    case 5:
      return random.chance(0.02) ? `${text.slice(0, at)}${"[".repeat(50_000)}${text.slice(at)}` : ` ${text}`;
    default:
      return random.chance(0.02) ? text + " ".repeat(1_000_000) : `${text}\n`;
  }
}
