#!/usr/bin/env node
// Listens for Ctrl-C before it reads the program: that takes a tenth of a second, in which a signal counts, too.
import { importWithinLimits } from "../dist/import-in-turn.js";
import { listenForInterrupts } from "../dist/interrupts.js";

const interrupts = listenForInterrupts();
try {
  const { main } = await importWithinLimits(new URL("../dist/cli.js", import.meta.url));
  process.exitCode = await main(process.argv.slice(2), {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    interrupts,
  });
} catch (error) {
  if (error?.code !== "EMFILE") throw error;
  process.stderr.write("Error: this process may not open more files. Allow more: ulimit -n 1024\n");
  process.exitCode = 3;
}
// What is written comes out; what is still open, such as a connection that a server never ends, keeps nobody waiting.
process.stdout.write("", () => process.stderr.write("", () => process.exit()));
