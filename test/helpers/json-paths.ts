// Values in parsed JSON by their path.

import type { Json } from "./golden-checkpoints.js";

export function valueAt(config: unknown, path: readonly string[]): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return config;
  if (typeof config !== "object" || config === null) return undefined;
  return valueAt(new Map(Object.entries(config)).get(key), rest);
}

/** A copy with another value there. */
export function withValueAt(config: unknown, path: readonly string[], value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  return { ...(config as Json), [key]: withValueAt(valueAt(config, [key]), rest, value) };
}
