// Starts the compiled fuzzer: `npm run fuzz`. The program's version, which its code reads, is copied beside it.

import { copyFileSync } from "node:fs";

copyFileSync("package.json", ".fuzz/package.json");
const compiled = new URL("../../.fuzz/test/fuzz/fuzz.js", import.meta.url);
await import(compiled.href);
