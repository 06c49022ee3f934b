// The entry point of every child process: loads the child's module within the available file handles. The module finds
// its arguments as if it had been started directly.

import { importWithinLimits } from "../import-in-turn.js";

const [module = ""] = process.argv.splice(2, 1);
await importWithinLimits(new URL(module));
