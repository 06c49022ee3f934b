#!/usr/bin/env node
import { importWithinLimits } from "../dist/import-in-turn.js";

const { main } = await importWithinLimits(new URL("../dist/cli.js", import.meta.url));
process.exitCode = await main(process.argv.slice(2));
// What is written comes out; what is still open, such as a connection that a server never ends, keeps nobody waiting.
process.stdout.write("", () => process.stderr.write("", () => process.exit()));
