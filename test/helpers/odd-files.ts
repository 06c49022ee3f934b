// What can stand where a plain file is expected. Gone when the test ends.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { onTestFinished } from "vitest";

export interface OddFile {
  /** Makes it at a path where nothing is. */
  readonly make: (path: string) => void | Promise<void>;
  /** What the message calls it. */
  readonly called: RegExp;
}

/** Opening or reading any of them as if it were a file would wait without end, or never come to an end, or fail late. */
export const ODD_FILES: Readonly<Record<string, OddFile>> = {
  "a named pipe": { make: makePipe, called: /found a named pipe \(FIFO\)/ },
  "a link to a named pipe": {
    make: (path) => {
      makePipe(`${path}.pipe`);
      symlinkSync(`${path}.pipe`, path);
    },
    called: /found a named pipe \(FIFO\)/,
  },
  "a socket": { make: makeSocket, called: /found a socket/ },
  "a link to /dev/zero": { make: (path) => symlinkSync("/dev/zero", path), called: /found a device \(\/dev\/zero\)/ },
  "a link to a device that waits": {
    make: (path) => symlinkSync("/dev/tty", path),
    called: /found a device \(\/dev\/tty\)/,
  },
  "a folder": { make: (path) => mkdirSync(path), called: /found a folder|the folder has no/ },
  "a link to nowhere": { make: (path) => symlinkSync("nowhere", path), called: /not found|cannot be opened/ },
  "a link to itself": { make: (path) => symlinkSync(path, path), called: /ELOOP/ },
  // A hole takes no space.
  "a file of a gigabyte": {
    make: (path) => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 30);
    },
    called: /expected at most|found more|begin with/,
  },
};

export function makePipe(path: string): void {
  execFileSync("mkfifo", [path]);
}

async function makeSocket(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(path, listening));
  onTestFinished(() => {
    server.close();
    rmSync(path, { force: true });
  });
}
