// Standard output and standard error as they break: what could not be written is known, and nothing throws.

import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { OutputWriteError } from "../../src/errors.js";
import { TextOutput } from "../../src/report/text-output.js";

const ESCAPE = "\u001B";

/** A stream that fails from some write on, as those of a process do. */
function streamThat(fail: (chunk: string) => string | undefined, isTTY = false) {
  const written: string[] = [];
  const sink = new Writable({
    autoDestroy: false,
    write(chunk: Buffer, _encoding, done) {
      const code = fail(chunk.toString());
      if (code !== undefined) return done(Object.assign(new Error(`${code}: it broke, write`), { code }));
      written.push(chunk.toString());
      done();
    },
  });
  return { written, output: new TextOutput(Object.assign(sink, { isTTY }) as unknown as NodeJS.WriteStream) };
}

test("a text that is written is no error, and colours are for terminals", async () => {
  for (const isTTY of [true, false]) {
    const { written, output } = streamThat(() => undefined, isTTY);
    output.write(`${ESCAPE}[1ma${ESCAPE}[0m${ESCAPE}[2J\n`);
    await output.flushed();
    expect(written).toEqual([isTTY ? `${ESCAPE}[1ma${ESCAPE}[0m\\x1b[2J\n` : "\\x1b[1ma\\x1b[0m\\x1b[2J\n"]);
  }
});

test.each(["ENOSPC", "EIO", "EBADF", "EFBIG"])("%s is an error that says where the result is", async (code) => {
  const { output } = streamThat(() => code);
  output.write("a\n", "The result is in /models/x.");
  output.write("b\n");
  const failure = await output.flushed().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(OutputWriteError);
  expect(String(failure)).toMatch(new RegExp(`result cannot be written: ${code}.*The result is in /models/x\\.$`));
});

test.each(["EPIPE", "ECONNRESET"])("%s is none: the reader has what it wanted", async (code) => {
  const { output } = streamThat(() => code);
  output.write("a\n");
  await expect(output.flushed()).resolves.toBeUndefined();
});

test("what fits is not lost when later text does not", async () => {
  const { written, output } = streamThat((chunk) => (chunk === "b\n" ? "ENOSPC" : undefined));
  for (const text of ["a\n", "b\n", "c\n"]) output.write(text);
  await expect(output.flushed()).rejects.toThrow(OutputWriteError);
  expect(written[0]).toBe("a\n");
});
