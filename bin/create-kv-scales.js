#!/usr/bin/env node
// Listens for Ctrl-C before it reads the program: that takes a tenth of a second, in which a signal counts, too.
import { listenForInterrupts } from "../dist/interrupts.js";

const interrupts = listenForInterrupts();
const { main } = await import("../dist/cli.js");
process.exitCode = await main(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr, interrupts });
// What is written comes out; what is still open, such as a connection that a server never ends, keeps nobody waiting.
process.stdout.write("", () => process.stderr.write("", () => process.exit()));
