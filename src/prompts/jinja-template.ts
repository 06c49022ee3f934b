// Renders a Jinja template as Jinja2 in Python does, where the library differs: what None, True and lists are as text, what
// filters and loops make of something undefined, dates. Knows nothing of chats.

import * as jinja from "@huggingface/jinja";
import { isObject } from "../checkpoint/json-text.js";
import { strftime } from "./strftime.js";

/** A function that renders with variables. @throws whatever the template raises */
export type RenderTemplate = (variables: Readonly<Record<string, unknown>>) => string;

/** @throws Error when the template cannot be parsed */
export function parseJinja(source: string): RenderTemplate {
  const program: Node = jinja.parse(jinja.tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  const outputs = findOutputs(program);
  return (variables) => {
    const environment = new Scope();
    for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) environment.set(name, value);
    return String(new PythonInterpreter(environment, outputs).run(program).value);
  };
}

const GLOBALS: Readonly<Record<string, unknown>> = {
  ...{ true: true, True: true, false: false, False: false, none: null, None: null },
  raise_exception(message: unknown) {
    throw new Error(String(message));
  },
  range,
  strftime_now: (format: unknown) => strftime(new Date(), String(format)),
};

/** Longer lists are for nothing that a chat template does. */
const MAX_RANGE = 100_000;

function range(first: unknown, second?: unknown, third?: unknown): number[] {
  const isNumber = (value: unknown): value is number => typeof value === "number";
  const [start, stop] = isNumber(second) ? [Number(first), second] : [0, Number(first)];
  const step = isNumber(third) ? third : 1;
  if (step === 0) throw new Error("range() arg 3 must not be zero");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE)
    throw new RangeError(`Range too big. The sandbox blocks ranges larger than MAX_RANGE (${MAX_RANGE}).`);
  return Array.from({ length }, (_, index) => start + index * step);
}

// The library's own declarations of these do not resolve in an ES module.
interface Node {
  readonly type: string;
}

interface Value {
  readonly type: string;
  readonly value: unknown;
  toString(): string;
}

interface Environment {
  readonly variables: Map<string, Value>;
  set(name: string, value: unknown): unknown;
}

const Scope: new (parent?: Environment) => Environment = jinja.Environment;

const Interpreter: new (
  environment: Environment,
) => { run(program: Node): Value; evaluate(node: Node | undefined, environment: Environment): Value } =
  jinja.Interpreter;

/** Types of values that pass a test, where Python's are others. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  iterable: ["ArrayValue", "TupleValue", "ObjectValue", "StringValue", "UndefinedValue"],
  number: ["IntegerValue", "FloatValue", "BooleanValue"],
  float: ["FloatValue"],
};

/** What a filter takes something undefined for: it has no items, and no text. */
const EMPTY_LIST_FILTERS = [...["length", "count", "list", "join", "sort", "unique", "reverse"]];
const SELECTING_FILTERS = ["map", "select", "reject", "selectattr", "rejectattr"];
const EMPTY_TEXT_FILTERS = ["upper", "lower", "trim", "title", "capitalize", "string", "replace", "indent"];

/** A loop's round is over, or all are. */
class LoopExit extends Error {
  /** What the round had written before. */
  written = "";
  readonly kind: string;

  constructor(kind: string) {
    super(`${kind.toLowerCase()} outside of a loop`);
    this.kind = kind;
  }
}

class PythonInterpreter extends Interpreter {
  readonly #outputs: WeakSet<object>;

  constructor(environment: Environment, outputs: WeakSet<object>) {
    super(environment);
    this.#outputs = outputs;
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    const value = this.#evaluate(node, environment);
    if (node === undefined || !this.#outputs.has(node)) return value;
    return this.#literal("StringLiteral", toText(value), environment);
  }

  #evaluate(node: Node | undefined, environment: Environment): Value {
    switch (node?.type) {
      case "FilterExpression":
        return this.#filter(node, environment);
      case "TestExpression":
        return this.#test(node, environment);
      case "BinaryExpression":
        return this.#binary(node, environment);
      case "MemberExpression":
        return this.#member(node, environment);
      case "If":
        return this.#literal("StringLiteral", this.#branch(node, environment), environment);
      case "For":
        return this.#literal("StringLiteral", this.#loop(node, environment), environment);
      case "Break":
      case "Continue":
        throw new LoopExit(node.type);
      default:
        return super.evaluate(node, environment);
    }
  }

  /** Nothing is written twice or lost when a loop is left in the middle of its body. */
  #block(nodes: readonly Node[], environment: Environment): string {
    let text = "";
    for (const node of nodes) {
      try {
        const value = this.evaluate(node, environment);
        if (value.type === "StringValue") text += String(value.value);
      } catch (error) {
        if (error instanceof LoopExit) error.written = text + error.written;
        throw error;
      }
    }
    return text;
  }

  #branch(node: Node, environment: Environment): string {
    const isTrue = isTruthy(this.evaluate(child(node, "test"), environment));
    return this.#block(children(node, isTrue ? "body" : "alternate"), environment);
  }

  #loop(node: Node, environment: Environment): string {
    const iterable = child(node, "iterable");
    const isSelected = iterable?.type === "SelectExpression";
    const condition = isSelected ? child(iterable, "test") : undefined;
    const items = this.#items(isSelected ? child(iterable, "lhs") : iterable, environment);
    const rounds = items.flatMap((item) => {
      const scope = new Scope(environment);
      this.#assign(child(node, "loopvar"), item, scope);
      return condition === undefined || isTruthy(this.evaluate(condition, scope)) ? [{ item, scope }] : [];
    });
    if (rounds.length === 0) return this.#block(children(node, "defaultBlock"), new Scope(environment));
    let text = "";
    for (const [index, { scope }] of rounds.entries()) {
      const around = { before: rounds[index - 1]?.item, after: rounds[index + 1]?.item };
      scope.variables.set("loop", this.#loopObject(index, rounds.length, around, scope));
      try {
        text += this.#block(children(node, "body"), scope);
      } catch (error) {
        if (!(error instanceof LoopExit)) throw error;
        text += error.written;
        if (error.kind === "Break") break;
      }
    }
    return text;
  }

  /** Over something undefined, a loop goes no round; over an object, it goes through its keys. */
  #items(node: Node | undefined, environment: Environment): readonly Value[] {
    const iterable = this.evaluate(node, environment);
    if (iterable.type === "UndefinedValue") return [];
    const text = (value: string) => this.#literal("StringLiteral", value, environment);
    if (iterable.type === "StringValue") return [...String(iterable.value)].map(text);
    if (iterable.type === "ObjectValue") return entriesOf(iterable).map(([key]) => text(key));
    if (Array.isArray(iterable.value)) return itemsOf(iterable);
    throw new Error(`${toPython(iterable)} is not iterable`);
  }

  #assign(target: Node | undefined, item: Value, scope: Environment): void {
    const names = target?.type === "TupleLiteral" ? Reflect.get(target, "value") : undefined;
    if (!Array.isArray(names)) {
      scope.variables.set(String(Reflect.get(target ?? {}, "value")), item);
      return;
    }
    const parts = itemsOf(item);
    if (parts.length !== names.length)
      throw new Error(`expected ${names.length} values to unpack, got ${parts.length}`);
    for (const [index, name] of names.entries()) {
      const part = parts[index];
      if (part !== undefined) this.#assign(isNode(name) ? name : undefined, part, scope);
    }
  }

  #loopObject(
    index: number,
    length: number,
    { before, after }: { readonly before: Value | undefined; readonly after: Value | undefined },
    scope: Environment,
  ): Value {
    const numbers = {
      index: index + 1,
      index0: index,
      revindex: length - index,
      revindex0: length - index - 1,
      length,
    };
    const flags = { first: index === 0, last: index === length - 1 };
    const loop = this.#literal("ObjectLiteral", new Map(), scope);
    if (!(loop.value instanceof Map)) return loop;
    for (const [key, number] of Object.entries(numbers))
      loop.value.set(key, this.#literal("IntegerLiteral", number, scope));
    for (const [key, flag] of Object.entries(flags)) loop.value.set(key, this.#identifier(String(flag), scope));
    loop.value.set("previtem", before ?? super.evaluate(undefined, scope));
    loop.value.set("nextitem", after ?? super.evaluate(undefined, scope));
    return loop;
  }

  #member(node: Node, environment: Environment): Value {
    const object = this.evaluate(child(node, "object"), environment);
    if (object.type === "UndefinedValue") throw new Error(`${nameOf(child(node, "object"))} is undefined`);
    return this.#withHeld(node, { object }, environment);
  }

  #filter(node: Node, environment: Environment): Value {
    const operand = this.evaluate(child(node, "operand"), environment);
    const name = nameOfFilter(child(node, "filter"));
    const isEmptyText = EMPTY_TEXT_FILTERS.includes(name);
    let held = operand;
    const isEmptyList = Array.isArray(operand.value) && operand.value.length === 0;
    if ((name === "first" || name === "last") && (isEmptyList || operand.type === "UndefinedValue")) {
      return super.evaluate(undefined, environment);
    }
    if (operand.type === "UndefinedValue") {
      if (SELECTING_FILTERS.includes(name)) return this.#literal("ArrayLiteral", [], environment);
      if (name === "items") held = this.#literal("ObjectLiteral", new Map(), environment);
      else if (EMPTY_LIST_FILTERS.includes(name)) held = this.#literal("ArrayLiteral", [], environment);
      else if (isEmptyText) held = this.#literal("StringLiteral", "", environment);
    } else if (name === "string" || (isEmptyText && operand.type === "NullValue")) {
      held = this.#literal("StringLiteral", toText(operand), environment);
    }
    return this.#withHeld(node, { operand: held }, environment);
  }

  #test(node: Node, environment: Environment): Value {
    const name = String(Reflect.get(child(node, "test") ?? {}, "value"));
    const types = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined;
    if (types === undefined) return super.evaluate(node, environment);
    const passes = types.includes(this.evaluate(child(node, "operand"), environment).type);
    const isTrue = Reflect.get(node, "negate") === true ? !passes : passes;
    return this.#identifier(isTrue ? "true" : "false", environment);
  }

  #binary(node: Node, environment: Environment): Value {
    const operator = String(Reflect.get(Reflect.get(node, "operator") ?? {}, "value"));
    if (operator === "and" || operator === "or") return super.evaluate(node, environment);
    const left = this.evaluate(child(node, "left"), environment);
    const right = this.evaluate(child(node, "right"), environment);
    const isTrue = decide(operator, left, right);
    if (isTrue !== undefined) return this.#identifier(String(isTrue), environment);
    if (operator === "~") return this.#literal("StringLiteral", toText(left) + toText(right), environment);
    const isMixed = (left.type === "StringValue") !== (right.type === "StringValue");
    if (operator === "+" && isMixed) throw new Error(`can only add str to str: ${toPython(left)} + ${toPython(right)}`);
    return this.#withHeld(node, { left, right }, environment);
  }

  /** The node, with values in place of what it would evaluate: nothing is evaluated twice. */
  #withHeld(node: Node, held: Readonly<Record<string, Value>>, environment: Environment): Value {
    const scope = new Scope(environment);
    const identifiers = Object.entries(held).map(([key, value]) => {
      const name = `\0${key}`; // a name that no template can have
      scope.variables.set(name, value);
      return [key, { type: "Identifier", value: name }];
    });
    return super.evaluate({ ...node, ...Object.fromEntries(identifiers) }, scope);
  }

  #identifier(value: string, environment: Environment): Value {
    const node = { type: "Identifier", value };
    return super.evaluate(node, environment);
  }

  #literal(type: string, value: unknown, environment: Environment): Value {
    const node = { type, value };
    return super.evaluate(node, environment);
  }
}

/** What the operators that compare for equality say; undefined for others. */
function decide(operator: string, left: Value, right: Value): boolean | undefined {
  if (operator === "==" || operator === "!=") return isEqual(left, right) === (operator === "==");
  if ((operator === "in" || operator === "not in") && Array.isArray(right.value)) {
    return itemsOf(right).some((item) => isEqual(left, item)) === (operator === "in");
  }
  return undefined;
}

/** As Python's bool(). */
function isTruthy({ type, value }: Value): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return type !== "ObjectValue" || value.size > 0;
  return type === "FunctionValue" || Boolean(value);
}

/** As Python's ==. */
function isEqual(a: Value, b: Value): boolean {
  if (Array.isArray(a.value) || Array.isArray(b.value)) {
    const [left, right] = [itemsOf(a), itemsOf(b)];
    return a.type === b.type && left.length === right.length && left.every((item, at) => isEqualTo(item, right[at]));
  }
  if (a.value instanceof Map || b.value instanceof Map) {
    const [left, right] = [entriesOf(a), new Map(entriesOf(b))];
    if (a.type !== b.type || left.length !== right.size) return false;
    return left.every(([key, item]) => isEqualTo(item, right.get(key)));
  }
  return isNumeric(a) && isNumeric(b) ? Number(a.value) === Number(b.value) : a.type === b.type && a.value === b.value;
}

function isEqualTo(a: Value, b: Value | undefined): boolean {
  return b !== undefined && isEqual(a, b);
}

function isNumeric({ type }: Value): boolean {
  return TESTS.number?.includes(type) ?? false;
}

/** What `{{ … }}` writes. */
function toText(value: Value): string {
  if (value.type === "UndefinedValue") return "";
  return value.type === "StringValue" ? String(value.value) : toPython(value);
}

/** Python's repr(). */
function toPython(value: Value): string {
  switch (value.type) {
    case "NullValue":
      return "None";
    case "BooleanValue":
      return value.value ? "True" : "False";
    case "StringValue":
      return quoted(String(value.value));
    case "ArrayValue":
      return `[${itemsOf(value).map(toPython).join(", ")}]`;
    case "TupleValue":
      return `(${itemsOf(value).map(toPython).join(", ")}${itemsOf(value).length === 1 ? "," : ""})`;
    case "ObjectValue":
      return `{${entriesOf(value)
        .map(([key, entry]) => `${quoted(key)}: ${toPython(entry)}`)
        .join(", ")}}`;
    default:
      return value.toString();
  }
}

function itemsOf({ value }: Value): readonly Value[] {
  return Array.isArray(value) ? value : [];
}

function entriesOf({ value }: Value): readonly (readonly [string, Value])[] {
  return value instanceof Map ? [...value] : [];
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** In single quotes, unless there are single ones and no double ones in it. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\\n\r\t']|[^\P{C}]|[^\P{Z} ]/gu, (character) => {
    if (character === "'") return quote === "'" ? "\\'" : character;
    return ESCAPES[character] ?? escapedCode(character.codePointAt(0) ?? 0);
  });
  return `${quote}${escaped}${quote}`;
}

function escapedCode(code: number): string {
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
}

/** Nodes that a template's `{{ … }}` are; what else stands in a body, a statement, has its own text already. */
function findOutputs(program: Node): WeakSet<object> {
  const outputs = new WeakSet<object>();
  const waiting: unknown[] = [program];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (!isObject(next)) continue;
    for (const body of [next.body, next.alternate, next.defaultBlock]) {
      for (const node of Array.isArray(body) ? body : []) {
        waiting.push(node);
        if (isObject(node) && !STATEMENTS.includes(String(node.type))) outputs.add(node);
      }
    }
  }
  return outputs;
}

const STATEMENTS = [
  ...["Program", "If", "For", "Set", "Macro", "Break", "Continue", "Comment"],
  ...["CallStatement", "FilterStatement"],
];

function child(node: Node, key: string): Node | undefined {
  const value: unknown = Reflect.get(node, key);
  return isNode(value) ? value : undefined;
}

function children(node: Node, key: string): readonly Node[] {
  const value: unknown = Reflect.get(node, key);
  return Array.isArray(value) ? value.filter(isNode) : [];
}

function nameOf(node: Node | undefined): string {
  const name: unknown =
    node && (Reflect.get(node, "value") ?? Reflect.get(Reflect.get(node, "property") ?? {}, "value"));
  return typeof name === "string" ? `'${name}'` : "a value";
}

function isNode(value: unknown): value is Node {
  return isObject(value) && typeof value.type === "string";
}

function nameOfFilter(filter: Node | undefined): string {
  const named = filter?.type === "CallExpression" ? child(filter, "callee") : filter;
  return named === undefined ? "" : String(Reflect.get(named, "value"));
}
