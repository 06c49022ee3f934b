import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { makerOfTag, stateOf, temporaryTag, thisProcess } from "../../src/checkpoint/process-identity.js";

describe("a process", () => {
  test("runs while it runs, and is gone afterwards", () => {
    const { pid } = spawnSync(process.execPath, ["--version"]);
    expect(stateOf(thisProcess())).toBe("running");
    expect(stateOf({ ...thisProcess(), pid })).toBe("gone");
  });

  test.skipIf(process.platform !== "linux")("with the id of a dead one is another (skipped where ids are all)", () => {
    expect(stateOf({ ...thisProcess(), started: "1" })).toBe("gone");
  });

  test("of another machine or container cannot be asked for", () => {
    expect(stateOf({ ...thisProcess(), scope: "00000000" })).toBe("unknown");
  });
});

describe("a temporary tag", () => {
  test("says who made it, and is another each time", () => {
    const { pid, scope } = thisProcess();
    expect(makerOfTag(temporaryTag())).toEqual({ pid, scope, started: "" });
    expect(new Set(Array.from({ length: 100 }, temporaryTag)).size).toBe(100);
  });

  test.each(["", "12", "12-34567890", "12-34567890-1234567", "x-34567890-12345678", "12-34567890-12345678.x"])(
    "is nothing like %s",
    (text) => expect(makerOfTag(text)).toBeUndefined(),
  );

  const inNamespace = (code: string) => {
    const node = [process.execPath, "--input-type=module", "-e", code];
    return spawnSync("unshare", ["--pid", "--fork", "--mount-proc", ...node], { encoding: "utf8" });
  };
  const canUnshare = process.platform === "linux" && inNamespace("").status === 0;

  test.skipIf(!canUnshare)("differs where process ids are the same (skipped without namespaces of process ids)", () => {
    const module = new URL("../../dist/checkpoint/process-identity.js", import.meta.url).href;
    const code = `import { temporaryTag } from ${JSON.stringify(module)}; console.log(temporaryTag());`;
    const tags = [inNamespace(code), inNamespace(code)].map(({ stdout }) => makerOfTag(stdout.trim()));
    expect(tags.map((maker) => maker?.pid)).toEqual([1, 1]);
    for (const maker of tags) expect(maker && stateOf(maker)).toBe("unknown");
  });
});
