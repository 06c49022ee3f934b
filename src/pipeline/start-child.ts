// Where every child process starts: its module, loaded within as many file handles as there are. The module finds its
// arguments as if it had been started itself.

import { importWithinLimits } from "../import-in-turn.js";

const [module = ""] = process.argv.splice(2, 1);
await importWithinLimits(new URL(module));
