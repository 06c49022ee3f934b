// Where the computing process starts: compute-child.ts, loaded within as many file handles as there are.

import { importWithinLimits } from "../import-in-turn.js";

await importWithinLimits(new URL("./compute-child.js", import.meta.url));
