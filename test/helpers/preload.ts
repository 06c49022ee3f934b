// Code that every Node process of the program runs before its own: to imitate a driver that talks or crashes, or a GPU.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "./run-cli-folders.js";

/** The environment in which the code runs first. Its children have `process.send`; they tokenize or compute. */
export function preloading(code: string): { readonly NODE_OPTIONS: string } {
  const file = join(temporaryFolder(), "preload.cjs");
  writeFileSync(file, code);
  return { NODE_OPTIONS: `--require ${file}` };
}

export interface DriverFault {
  /** What it writes on stderr when it is loaded. */
  readonly words: string;
  /** Whose task ends in a crash, or never. */
  readonly crashesOn?: string;
  readonly hangsOn?: string;
}

/** A driver in the computing process. */
export function driver({ words, crashesOn = "", hangsOn = "" }: DriverFault): string {
  return `
    if (process.send !== undefined && process.argv.some((argument) => argument.endsWith("/compute-child.js"))) {
      require("node:fs").writeSync(2, ${JSON.stringify(`${words}\n`)});
      const { on } = process;
      process.on = function (event, listener) {
        if (event !== "message") return on.call(this, event, listener);
        return on.call(this, event, (task) => {
          const { provider } = task.request.plan;
          if (provider === ${JSON.stringify(crashesOn)}) process.kill(process.pid, "SIGSEGV");
          else if (provider !== ${JSON.stringify(hangsOn)}) listener(task);
        });
      };
    }`;
}

/** Linux with the device node of NVIDIA's driver. */
export const WITH_GPU = `
  const fs = require("node:fs");
  const { existsSync } = fs;
  fs.existsSync = (path) => path === "/dev/nvidiactl" || existsSync(path);
  require("node:module").syncBuiltinESMExports();`;
