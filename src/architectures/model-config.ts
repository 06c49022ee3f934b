// Typed reading of config.json, and of files like it: each value is checked, and an error gives key, expected and found. Remembers which keys
// were read, so that unread ones can be named. Knows no architecture. null counts as absent, as in transformers.

import { CheckpointError } from "../errors.js";

/** An unread key. */
export interface LeftOverKey {
  /** The key with dots for nested objects, such as `rope_parameters.factor`. */
  readonly path: string;
  readonly value: unknown;
}

/** Record of reading, shared by a config and the objects in it. */
interface Memory {
  /** The file's name in messages. */
  readonly file: string;
  readonly read: Set<string>;
  readonly opened: Set<string>;
  readonly ignored: Map<string, string>;
  /** Keys with a value that the family does not understand, although it knows the key. */
  readonly contradicting: Set<string>;
}

export class ModelConfig {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #memory: Memory;

  constructor(values: Readonly<Record<string, unknown>>, path = "", memory: Memory = emptyMemory("config.json")) {
    this.#values = values;
    this.#path = path;
    this.#memory = memory;
  }

  /** An object of another file. @param path its key there, with dots for nested objects */
  static ofFile(file: string, path: string, values: Readonly<Record<string, unknown>>): ModelConfig {
    return new ModelConfig(values, path, emptyMemory(file));
  }

  /**
   * The same object with values for keys that it does not have, and others in place of its own. What is left unread is
   * still asked of config.json itself.
   */
  completed(absent: Readonly<Record<string, unknown>>, instead: Readonly<Record<string, unknown>> = {}): ModelConfig {
    return new ModelConfig({ ...absent, ...this.#values, ...instead }, this.#path, this.#memory);
  }

  /** Whether the key has a value. This does not count as reading. */
  has(key: string): boolean {
    return this.#value(key) !== undefined;
  }

  /** Whether the key is present, perhaps as null. This does not count as reading. */
  mentions(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  /** Keys with a value. */
  keys(): string[] {
    return Object.keys(this.#values).filter((key) => this.has(key));
  }

  /** The value, without counting as reading. */
  peek(key: string): unknown {
    return this.#value(key);
  }

  raw(key: string): unknown {
    this.#memory.read.add(this.pathOf(key));
    return this.#value(key);
  }

  /**
   * Accepts a key without reading it: it has no effect here.
   * @param because the reason: a fact about this family that can be checked
   */
  ignore(key: string, because: string): void {
    this.#memory.ignored.set(this.pathOf(key), because);
  }

  /**
   * The same if the key has one of some values. With any other, even false or [], the key is left unread and refused by
   * name.
   */
  ignoreIf(key: string, values: readonly unknown[], because: string): void {
    if (values.includes(this.#value(key))) this.ignore(key, because);
    else this.#memory.contradicting.add(this.pathOf(key));
  }

  positiveInteger(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
    return this.#fail(key, "a positive integer");
  }

  optionalPositiveInteger(key: string): number | undefined {
    return this.has(key) ? this.positiveInteger(key) : this.#absent(key);
  }

  /** Zero or a positive integer. */
  count(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    return this.#fail(key, "a non-negative integer");
  }

  positiveNumber(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    return this.#fail(key, "a positive number");
  }

  optionalPositiveNumber(key: string): number | undefined {
    return this.has(key) ? this.positiveNumber(key) : this.#absent(key);
  }

  /** Any finite number. */
  number(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    return this.#fail(key, "a number");
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key) ?? fallback;
    return typeof value === "boolean" ? value : this.#fail(key, "true or false");
  }

  string(key: string, fallback?: string): string {
    const value = this.raw(key) ?? fallback;
    return typeof value === "string" ? value : this.#fail(key, "a string");
  }

  optionalStrings(key: string): string[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const isList = Array.isArray(value) && value.every((entry) => typeof entry === "string");
    return isList ? (value as string[]) : this.#fail(key, "a list of strings");
  }

  optionalNumbers(key: string): number[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const isList = Array.isArray(value) && value.every((entry) => typeof entry === "number" && Number.isFinite(entry));
    return isList ? (value as number[]) : this.#fail(key, "a list of numbers");
  }

  /** A list of one number per layer. @param isValid the condition on each */
  numbersOfLayers(key: string, layers: number, isValid: (value: number) => boolean): number[] {
    const list = this.optionalNumbers(key);
    if (list?.length === layers && list.every(isValid)) return list;
    return this.#fail(key, `a list of ${layers} numbers in their range, one per layer`);
  }

  /** An object, whose keys count as read one by one. */
  optionalObject(key: string): ModelConfig | undefined {
    const value = this.#value(key);
    if (value === undefined) return this.#absent(key);
    if (typeof value !== "object" || Array.isArray(value)) return this.#fail(key, "an object");
    this.#memory.opened.add(this.pathOf(key));
    return new ModelConfig(value as Record<string, unknown>, this.pathOf(key), this.#memory);
  }

  object(key: string): ModelConfig {
    return this.optionalObject(key) ?? this.#fail(key, "an object");
  }

  /**
   * Keys with a value, here and in opened objects, that were neither read nor ignored. Values without meaning in any
   * family are left out, unless the family understands the key only with other values.
   */
  leftOver(): LeftOverKey[] {
    const { read, opened, ignored, contradicting } = this.#memory;
    return Object.keys(this.#values).flatMap((key): LeftOverKey[] => {
      const path = this.pathOf(key);
      const value = this.#value(key);
      if (ignored.has(path) || read.has(path) || value === undefined) return [];
      if (isNothing(value) && !contradicting.has(path)) return [];
      if (!opened.has(path)) return [{ path, value }];
      return new ModelConfig(value as Record<string, unknown>, path, this.#memory).leftOver();
    });
  }

  /** Paths that were read and not ignored, with or without a value. */
  readPaths(): string[] {
    return [...this.#memory.read].filter((path) => !this.#memory.ignored.has(path));
  }

  /** The key's name in messages. */
  nameOf(key: string): string {
    return `${this.#memory.file}: ${this.pathOf(key)}`;
  }

  #value(key: string): unknown {
    return (Object.hasOwn(this.#values, key) ? this.#values[key] : undefined) ?? undefined;
  }

  /** The key with dots for nested objects. */
  pathOf(key: string): string {
    return this.#path === "" ? key : `${this.#path}.${key}`;
  }

  #absent(key: string): undefined {
    this.#memory.read.add(this.pathOf(key));
    return undefined;
  }

  #fail(key: string, expected: string): never {
    const value = this.#value(key);
    const found = value === undefined ? "nothing" : shortJson(value);
    throw new CheckpointError(`${this.nameOf(key)}: expected ${expected}, found ${found}`);
  }
}

function emptyMemory(file: string): Memory {
  return { file, read: new Set(), opened: new Set(), ignored: new Map(), contradicting: new Set() };
}

/** Whether a value has no meaning in any family: null, false, or empty. */
function isNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function nameNonFinite(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

const SHOWN_CHARACTERS = 80;

/** A value as JSON, cut where it is long. */
export function shortJson(value: unknown): string {
  try {
    // JSON would show NaN and Infinity as null.
    const text = typeof value === "number" ? String(value) : (JSON.stringify(value, nameNonFinite) ?? "nothing");
    return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
  } catch {
    return "a value nested too deep to show";
  }
}
