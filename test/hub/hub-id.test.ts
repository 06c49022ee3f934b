import { expect, test } from "vitest";
import { isHubId, isRevision } from "../../src/hub/hub-id.js";

test.each(["meta-llama/Llama-3.1-8B", "a/b", "_org_/x.y_z", "org-1/name.v2", `${"o".repeat(47)}/${"n".repeat(48)}`])(
  "%s is a hub id",
  (text) => {
    expect(isHubId(text)).toBe(true);
  },
);

test.each([
  ["no slash", "gpt2"],
  ["two slashes", "org/name/more"],
  ["nothing before the slash", "/name"],
  ["nothing after the slash", "org/"],
  ["a path", "./model"],
  ["a path upwards", "../model"],
  ["two dots", "org/na..me"],
  ["two hyphens", "org/na--me"],
  ["a hyphen at the beginning", "org/-name"],
  ["a hyphen at the end", "org-/name"],
  ["a dot at the end", "org/name."],
  ["a name that ends in .git", "org/name.git"],
  ["a space", "org/my name"],
  ["a backslash", "org\\name"],
  ["a drive", "C:/name"],
  ["a home folder", "~/name"],
  ["a letter with an accent", "org/modèle"],
  ["a line break", "org/name\n"],
  ["97 characters", `${"o".repeat(48)}/${"n".repeat(48)}`],
  ["nothing", ""],
])("%s is no hub id", (_rule, text) => {
  expect(isHubId(text)).toBe(false);
});

test.each(["main", "v1.0", "refs/pr/1", "feature/x", "c".repeat(40)])("%s is a revision", (text) => {
  expect(isRevision(text)).toBe(true);
});

test.each(["", "..", "../main", "/etc", "a/../b", "a//b", "a b", "a\\b", "C:x", "x.lock", ".git", "a/.b", "a/", "-x"])(
  "%j is no revision",
  (text) => {
    expect(isRevision(text)).toBe(false);
  },
);
