// Loaded before the program (node --import): counts its calls of the file system, and kills the process before one of
// them, or lets it fail with an error of the system. CKS_FAULT says which: count:FILE, kill:N, EIO:N, ENOSPC:N.
// Nothing counts before the program has begun to write, or in a computing process.

import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const [what = "", argument = ""] = (process.env.CKS_FAULT ?? "").split(":");
const [, , ...args] = process.argv;
let calls = 0;
let hasBegun = false;

/** @param {string} name @param {unknown[]} given */
function beforeCall(name, given) {
  hasBegun ||= name === "mkdir" || (name === "open" && /\.create-kv-scales-/.test(String(given[0])));
  if (!hasBegun) return;
  calls++;
  if (what === "count") return;
  if (calls !== Number(argument)) return;
  if (what === "kill") {
    process.kill(process.pid, "SIGKILL");
    // The signal ends the process before it returns to JavaScript; waiting makes sure.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000);
  }
  throw Object.assign(new Error(`${what}: injected, ${name}`), { code: what, syscall: name });
}

const SYNC = ["renameSync", "lstatSync"];
const HANDLE = ["read", "write", "writeFile", "readFile", "sync", "stat", "close"];

if (what !== "" && process.send === undefined && args.length > 0) {
  const { promises } = fs;
  const real = { ...promises };
  for (const [name, call] of Object.entries(real)) {
    if (typeof call !== "function") continue;
    Reflect.set(promises, name, async (/** @type {unknown[]} */ ...given) => {
      beforeCall(name, given);
      const result = await Reflect.apply(call, promises, given);
      return name === "open" ? watchHandle(result) : result;
    });
  }
  for (const name of SYNC) {
    const call = Reflect.get(fs, name);
    Reflect.set(fs, name, (/** @type {unknown[]} */ ...given) => {
      beforeCall(name, given);
      return Reflect.apply(call, fs, given);
    });
  }
  syncBuiltinESMExports();
  if (what === "count") process.on("exit", () => fs.writeFileSync(argument, String(calls)));
}

/** @param {object} handle */
function watchHandle(handle) {
  for (const name of HANDLE) {
    const call = Reflect.get(handle, name);
    Reflect.set(handle, name, async (/** @type {unknown[]} */ ...given) => {
      // A handle that cannot be closed is closed all the same.
      if (name !== "close" || what === "kill" || what === "count") beforeCall(name, given);
      return Reflect.apply(call, handle, given);
    });
  }
  return handle;
}
