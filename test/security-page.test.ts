// SECURITY.md names tests that exist: a promise whose test is gone is none.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const PAGE = readFileSync(join(ROOT, "SECURITY.md"), "utf8");
const NAMED = [...PAGE.matchAll(/`([a-z/-]+\.test\.ts)`(?: "([^"]+)")?/g)].map(([, file = "", name]) => ({
  file,
  name,
}));

test("every promise names a test", () => {
  const promises = PAGE.split("\n## Limits")[0]?.match(/^\| (?!promise|---).*$/gm) ?? [];
  expect(promises.length).toBeGreaterThan(20);
  for (const promise of promises) expect(promise).toMatch(/\.test\.ts`/);
});

test.each(NAMED)("$file $name", ({ file, name }) => {
  const path = join(ROOT, "test", file);
  expect(existsSync(path)).toBe(true);
  if (name !== undefined) expect(readFileSync(path, "utf8")).toContain(name);
});
