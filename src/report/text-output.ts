// Standard output or standard error: everything that this program writes there goes through here. Writes out characters
// that would control a terminal, and knows what could not be written. Knows nothing of the content.

import { fstatSync, writeSync } from "node:fs";
import { messageOf, OutputWriteError } from "../errors.js";
import { showLines } from "./shown-text.js";

/** The reader has closed the pipe (`… | head`), which is no error: it has what it needs. */
const READER_GONE: readonly unknown[] = ["EPIPE", "ECONNRESET"];

export class TextOutput {
  /** The stream, for code that draws by itself, such as a spinner. */
  readonly stream: NodeJS.WriteStream;
  #written: Promise<void> = Promise.resolve();
  #failure: OutputWriteError | undefined;
  #isClosed = false;
  #isUnwritten = true;

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream;
    // A stream without a listener for its errors would end the process with a stack trace.
    if (!stream.listeners("error").includes(ignoreError)) stream.on("error", ignoreError);
  }

  /** Whether it is a terminal. */
  get isTTY(): boolean {
    return this.stream.isTTY === true;
  }

  /** Whether nothing was to be written so far. */
  get isUnwritten(): boolean {
    return this.#isUnwritten;
  }

  /**
   * Writes a text, with colours only in a terminal. Never throws: `flushed` does.
   * @param elsewhere where else the result is, as a sentence for the error
   */
  write(text: string, elsewhere = ""): void {
    this.#isUnwritten = false;
    if (this.#isClosed) return;
    const writing = this.#writeOut(showLines(text, { colors: this.isTTY })).catch((cause) => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      if (READER_GONE.includes((cause as NodeJS.ErrnoException).code)) return;
      const message = `Standard output: the result cannot be written: ${messageOf(cause)}. Make room, or send it elsewhere.`;
      this.#failure = new OutputWriteError(elsewhere === "" ? message : `${message} ${elsewhere}`, { cause });
    });
    this.#written = Promise.all([this.#written, writing]).then(() => undefined);
  }

  /** When all that was written has left the process. @throws OutputWriteError when some of it could not */
  async flushed(): Promise<void> {
    await this.#written;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #writeOut(text: string): Promise<void> {
    const { stream } = this;
    const fd = "fd" in stream ? stream.fd : undefined;
    if (isPlainFile(fd)) return writeWhole(fd, Buffer.from(text));
    await new Promise<void>((resolve, reject) => {
      stream.write(text, (error) => (error ? reject(error) : resolve()));
    });
  }
}

function ignoreError(): void {}

function isPlainFile(fd: unknown): fd is number {
  try {
    return typeof fd === "number" && fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

/** Node writes to a file once and ignores a short write: on a full disk, the result would be cut without an error. */
function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}
