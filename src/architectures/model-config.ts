// Typed reading of config.json: each value is checked, and an error says key, expected and found.
// Knows no architecture; null counts as absent, as in transformers.

import { CheckpointError } from "../errors.js";

export class ModelConfig {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #where: string;

  constructor(values: Readonly<Record<string, unknown>>, where = "config.json") {
    this.#values = values;
    this.#where = where;
  }

  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** Whether the key is written down at all, be it as null. */
  mentions(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  keys(): string[] {
    return Object.keys(this.#values).filter((key) => this.has(key));
  }

  raw(key: string): unknown {
    return this.#values[key] ?? undefined;
  }

  positiveInteger(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
    return this.#fail(key, "a positive integer");
  }

  optionalPositiveInteger(key: string): number | undefined {
    return this.has(key) ? this.positiveInteger(key) : undefined;
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
    return this.has(key) ? this.positiveNumber(key) : undefined;
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

  optionalObject(key: string): ModelConfig | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || Array.isArray(value)) return this.#fail(key, "an object");
    return new ModelConfig(value as Record<string, unknown>, `${this.#where}: ${key}`);
  }

  /** How a key is called in messages. */
  nameOf(key: string): string {
    return `${this.#where}: ${key}`;
  }

  #fail(key: string, expected: string): never {
    const value = this.raw(key);
    const found = value === undefined ? "nothing" : JSON.stringify(value);
    throw new CheckpointError(`${this.nameOf(key)}: expected ${expected}, found ${found}`);
  }
}
