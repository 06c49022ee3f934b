// Kills the writer, or lets its disk fail, and looks at what is there: while it runs, after its death, and after the next
// run. Before every call of the file system, in each way to write, or at random moments.
//
//   npm run build && node test/attack/kill-writes.js [--model FOLDER] [--every N] [--random N] [--no-exchange] [--seed N]
//     [--faults kill,EIO,ENOSPC]
//
// --every 1 tries every call, 10 every tenth. --no-exchange hides the programs that exchange two folders at once, so that
// the way of other systems is taken: there an old result may stand aside for a moment, and the next run brings it back.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const PRELOAD = pathToFileURL(join(HERE, "fault-preload.js")).href;
const WRITER = join(HERE, "write-once.js");
const FAULTS = /** @type {const} */ (["kill", "EIO", "ENOSPC"]);
const EXIT_NOT_WRITTEN = new Set([2, 3, 7]);

/**
 * @typedef {{ name: string, args: (model: string, output: string) => string[], inPlace: boolean, replaces: boolean }} Way
 * @typedef {{ model: string, root: string, exchange: boolean }} Setting
 * @typedef {{ runs: number, killed: number, failed: number, polls: number, violations: string[] }} Tally
 */

/** @type {readonly Way[]} */
const WAYS = [
  { name: "new folder", args: (model, output) => [model, output, "vllm"], inPlace: false, replaces: false },
  { name: "--force", args: (model, output) => [model, output, "vllm", "--force"], inPlace: false, replaces: true },
  { name: "--in-place", args: (model) => [model, "--in-place", "vllm"], inPlace: true, replaces: false },
  {
    name: "--in-place --force",
    args: (model) => [model, "--in-place", "vllm", "--force"],
    inPlace: true,
    replaces: true,
  },
];

/** Every file below a folder, by name and hash; hashes of large files are kept, by inode and time. @type {Map<string, string>} */
const hashes = new Map();

/** @param {string} folder @returns {Record<string, string>} */
function snapshot(folder) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const name of fs.readdirSync(folder).sort()) {
    const path = join(folder, name);
    const stats = fs.lstatSync(path, { bigint: true });
    if (stats.isDirectory()) Object.assign(found, { [`${name}/`]: "folder" }, prefixed(name, snapshot(path)));
    else found[name] = hashOf(path, stats);
  }
  return found;
}

/** @param {string} folder @param {Record<string, string>} names */
function prefixed(folder, names) {
  return Object.fromEntries(Object.entries(names).map(([name, hash]) => [`${folder}/${name}`, hash]));
}

/** @param {string} path @param {fs.BigIntStats} stats */
function hashOf(path, stats) {
  const key = `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}`;
  const known = hashes.get(key);
  if (known !== undefined) return known;
  const hash = createHash("sha256").update(fs.readFileSync(path)).digest("hex");
  hashes.set(key, hash);
  return hash;
}

/** @param {unknown} one @param {unknown} other */
function isEqual(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** A copy of a model whose weights are links: a thousand runs must not write a thousand times its size. @param {Setting} setting */
function copyOf({ model, root }) {
  const folder = fs.mkdtempSync(join(root, "run-"));
  const copy = join(folder, "model");
  fs.mkdirSync(copy);
  for (const name of fs.readdirSync(model)) {
    const source = fs.realpathSync(join(model, name));
    if (!fs.statSync(source).isFile()) continue;
    if (name.endsWith(".safetensors")) fs.linkSync(source, join(copy, name));
    else fs.copyFileSync(source, join(copy, name));
  }
  return { folder, model: copy, output: join(folder, "out") };
}

/**
 * @param {readonly string[]} args @param {Setting} setting @param {string} [fault]
 * @param {(child: import("node:child_process").ChildProcess) => void} [onStart]
 * @returns {Promise<{ code: number | null, signal: string | null, stderr: string }>}
 */
function write(args, { exchange }, fault = "", onStart = () => {}) {
  const env = { ...process.env, CKS_FAULT: fault, ...(exchange ? {} : { PATH: "/nonexistent" }) };
  const child = spawn(process.execPath, ["--import", PRELOAD, WRITER, ...args], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  onStart(child);
  return new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal, stderr })));
}

/** What each way leaves when nothing disturbs it. @param {Setting} setting @param {Way} way */
async function undisturbed(setting, way) {
  const place = copyOf(setting);
  await prepare(setting, way, place);
  const before = way.inPlace ? snapshot(place.model) : way.replaces ? snapshot(place.output) : undefined;
  const input = snapshot(place.model);
  const counted = join(place.folder, "calls");
  const { code, stderr } = await write(way.args(place.model, place.output), setting, `count:${counted}`);
  if (code !== 0) throw new Error(`${way.name}: undisturbed, and exit code ${code}: ${stderr}`);
  const after = snapshot(way.inPlace ? place.model : place.output);
  const calls = Number(fs.readFileSync(counted, "utf8"));
  fs.rmSync(place.folder, { recursive: true });
  return { before, input, after, calls };
}

/** @param {Setting} setting @param {Way} way @param {ReturnType<typeof copyOf>} place */
async function prepare(setting, way, place) {
  if (!way.replaces) return;
  const args = way.inPlace ? [place.model, "--in-place", "tgi"] : [place.model, place.output, "tgi"];
  const { code, stderr } = await write(args, setting);
  if (code !== 0) throw new Error(`no earlier result: ${stderr}`);
}

/**
 * One look at the output: absent, or one of the whole states. The folder is opened once, so that both halves of a look are
 * at the same one; a folder that was exchanged meanwhile is looked at again.
 * @param {string} output @param {readonly (Record<string, string> | undefined)[]} allowed
 */
function lookAt(output, allowed) {
  for (;;) {
    let inode;
    try {
      inode = fs.statSync(output).ino;
      const found = snapshot(output);
      if (fs.statSync(output).ino !== inode) continue;
      return allowed.some((state) => isEqual(state, found)) ? "whole" : "other";
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error) || error.code !== "ENOENT") throw error;
      if (inode === undefined) return "absent";
    }
  }
}

/**
 * @param {Setting} setting @param {Way} way @param {Awaited<ReturnType<typeof undisturbed>>} expected @param {string} fault
 * @param {number | undefined} killAfterMs @param {Tally} tally
 */
async function disturb(setting, way, expected, fault, killAfterMs, tally) {
  const place = copyOf(setting);
  await prepare(setting, way, place);
  const what = `${way.name}, ${fault || `killed after ${killAfterMs?.toFixed(1)} ms`}`;
  /** @param {string} problem */
  const report = (problem) => tally.violations.push(`${what}: ${problem}`);
  const allowed = [expected.before, expected.after];
  const mayBeAbsent = !way.replaces;

  /** @param {string} when */
  const look = (when) => {
    if (way.inPlace) return;
    const found = lookAt(place.output, allowed);
    if (found === "other") report(`${when}, the output was neither the old nor the new result`);
    // Where two folders cannot be exchanged, the old one stands aside for a moment.
    else if (found === "absent" && !mayBeAbsent && (setting.exchange || !isAside(place)))
      report(`${when}, there was none`);
    tally.polls++;
  };
  let isRunning = true;
  const ended = write(way.args(place.model, place.output), setting, fault, (child) => {
    if (killAfterMs !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  }).finally(() => {
    isRunning = false;
  });
  while (isRunning) {
    look("while it ran");
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { code, signal, stderr } = await ended;
  tally.runs++;
  if (signal !== null) tally.killed++;
  else if (code !== 0) tally.failed++;
  if (signal === null && code !== 0 && !EXIT_NOT_WRITTEN.has(code ?? -1)) report(`exit code ${code}: ${stderr}`);

  look("after its end");
  if (!way.inPlace && !isEqual(snapshot(place.model), expected.input)) report("the input was changed");
  if (way.inPlace) await expectReadable(place.model, report);
  // What fails without a kill is cleared at once.
  const left = fs.readdirSync(place.folder).filter((name) => name !== "model" && name !== "out");
  if (signal === null && code !== 0 && !/is complete, but/.test(stderr) && left.length > 0) {
    report(`left ${left.join(", ")}: ${stderr}`);
  }

  const isThere = way.inPlace ? way.replaces || hasScales(place.model) : fs.existsSync(place.output);
  const again = way.args(place.model, place.output);
  if ((isThere || way.replaces) && again.at(-1) !== "--force") again.push("--force");
  const repeated = await write(again, setting);
  if (repeated.code !== 0) report(`the next run failed: ${repeated.stderr}`);
  else if (!isEqual(snapshot(way.inPlace ? place.model : place.output), expected.after))
    report("the next run's result differs");
  else {
    const rest = fs.readdirSync(place.folder).filter((name) => name !== "model" && name !== "out");
    if (rest.length > 0) report(`the next run did not clear ${rest.join(", ")}`);
  }
  fs.rmSync(place.folder, { recursive: true });
}

/** @param {ReturnType<typeof copyOf>} place */
function isAside({ folder }) {
  return fs.readdirSync(folder).some((name) => fs.existsSync(join(folder, name, "old/kv_scales.json")));
}

/** @param {string} model */
function hasScales(model) {
  return (
    fs.readdirSync(model).includes("kv_scales.json") ||
    fs.readdirSync(model).some((name) => /kv-scales|00002-of-00002/.test(name))
  );
}

/** A folder that is being changed opens at every moment, and never promises vLLM scales that are not there. @param {string} model @param {(problem: string) => void} report */
async function expectReadable(model, report) {
  const { openCheckpoint } = await import("../../dist/checkpoint/open-checkpoint.js");
  try {
    const { config, tensors } = await openCheckpoint(model);
    const hasKScale = [...tensors.keys()].some((name) => name.endsWith(".k_scale"));
    if ("quantization_config" in config && !hasKScale) report("config.json promises scales that are not there");
  } catch (error) {
    report(`the folder does not open: ${error instanceof Error ? error.message : error}`);
  }
}

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    every: { type: "string", default: "1" },
    random: { type: "string", default: "250" },
    "no-exchange": { type: "boolean", default: false },
    seed: { type: "string", default: "1" },
    faults: { type: "string", default: FAULTS.join(",") },
  },
});
// Weights are linked, so all lies on the model's own disk; the example is copied first.
const root = fs.mkdtempSync(
  join(values.model === undefined ? tmpdir() : dirname(resolve(values.model)), ".kill-writes-"),
);
if (values.model === undefined)
  fs.cpSync(join(HERE, "../../examples/tiny-llama"), join(root, "example"), { recursive: true });
const model = values.model === undefined ? join(root, "example") : resolve(values.model);
let state = Number(values.seed);
/** Numbers from 0 to 1 that a seed decides (Park and Miller). */
const random = () => {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
};
try {
  /** @type {Setting} */
  const setting = { model, root, exchange: !values["no-exchange"] };
  /** @type {Tally} */
  const tally = { runs: 0, killed: 0, failed: 0, polls: 0, violations: [] };
  const calls = [];
  for (const way of WAYS) {
    const expected = await undisturbed(setting, way);
    calls.push(`${way.name} ${expected.calls}`);
    const every = Number(values.every);
    for (const fault of every === 0 ? [] : FAULTS.filter((name) => values.faults.split(",").includes(name))) {
      const first = 1 + Math.floor(random() * every);
      for (let call = first; call <= expected.calls; call += every) {
        await disturb(setting, way, expected, `${fault}:${call}`, undefined, tally);
      }
    }
    const start = performance.now();
    const warm = copyOf(setting);
    await prepare(setting, way, warm);
    const begin = performance.now();
    await write(way.args(warm.model, warm.output), setting);
    const runMs = performance.now() - begin;
    fs.rmSync(warm.folder, { recursive: true });
    const share = Math.ceil(Number(values.random) / WAYS.length);
    // Starting takes most of a run: the moments lie where it writes.
    for (let moment = 0; moment < share; moment++) {
      await disturb(setting, way, expected, "", runMs * (0.4 + 0.6 * random()), tally);
    }
    process.stderr.write(`${way.name}: ${((performance.now() - start) / 1000).toFixed(0)} s\n`);
  }
  process.stdout.write(`${JSON.stringify({ calls, ...tally }, null, 2)}\n`);
  process.exitCode = tally.violations.length === 0 ? 0 : 1;
} finally {
  fs.rmSync(root, { recursive: true, force: true });
}
