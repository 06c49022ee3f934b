// Installs the libraries that onnxruntime-node needs for CUDA and that its npm package lacks. Runs the package's own
// download script from a copy, in a folder beside them, and moves them into place: all of them, or none.

import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { InterruptedError, OutputWriteError, ProviderError, throwIfAborted } from "../errors.js";
import { cudaLibraryPath, type System } from "./provider-obstacles.js";

/** Size of the download (Microsoft.ML.OnnxRuntime.Gpu.Linux 1.30), rounded: the script does not say it beforehand. */
export const CUDA_DOWNLOAD = { host: "api.nuget.org", downloadMegabytes: 250, diskMegabytes: 280 } as const;

export interface CudaDownload {
  readonly system: System;
  readonly signal?: AbortSignal | undefined;
  /** Bytes received so far. */
  readonly onProgress?: ((receivedBytes: number) => void) | undefined;
  /** After so many milliseconds without a new byte, the host counts as unreachable. */
  readonly stallLimitMs?: number | undefined;
}

export interface CudaLibrary {
  readonly path: string;
  readonly bytes: number;
}

const ELF = Buffer.from("\x7fELF", "latin1");
const PRELOAD = "secure-endpoint.cjs";
/**
 * The script's proxy library (global-agent 4.1) checks the certificate against the name "localhost" unless the request
 * says that it uses TLS, which Node's requests do not.
 */
const SECURE_ENDPOINT = `const https = require("node:https");
const { get } = https;
https.get = (url, options, done) => get(url, { ...options, secureEndpoint: true }, done);
`;
const STAGING = ".cuda-download-";
const POLL_MS = 250;
const STALL_LIMIT_MS = 120_000;
const LIBRARY = /^libonnxruntime_providers_\w+\.so$/;
const NETWORK_FAULT =
  /\b(ENOTFOUND|EAI_AGAIN|ECONN\w+|E(HOST|NET)UNREACH|ETIMEDOUT|EPIPE|socket hang up)\b|Proxy|Timeout/i;
const CERTIFICATE_FAULT = /certificate|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_/i;

/**
 * Downloads and installs the libraries. Leaves nothing behind when it fails or is stopped.
 * @throws OutputWriteError when the package's folder cannot be written
 * @throws ProviderError when the download fails, or what it brought is not what was expected
 * @throws InterruptedError
 */
export async function downloadCudaLibraries(download: CudaDownload): Promise<readonly CudaLibrary[]> {
  const { system, signal } = download;
  throwIfAborted(signal);
  const target = dirname(cudaLibraryPath(system));
  const staging = makeStaging(system.packageFolder);
  try {
    const output = await runScript(staging, download);
    return place(librariesIn(join(staging, "bin"), output), target);
  } catch (error) {
    throw writeErrorOf(error, target) ?? error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** A folder inside the package: on the same file system, and where the script finds the packages that it imports. */
function makeStaging(packageFolder: string): string {
  removeAbandoned(packageFolder);
  try {
    const staging = mkdtempSync(join(packageFolder, `${STAGING}${process.pid}-`));
    for (const folder of ["script", "tmp"]) mkdirSync(join(staging, folder));
    writeFileSync(join(staging, PRELOAD), SECURE_ENDPOINT);
    const scripts = join(packageFolder, "script");
    for (const name of readdirSync(scripts))
      if (name.endsWith(".js")) copyFileSync(join(scripts, name), join(staging, "script", name));
    return staging;
  } catch (error) {
    throw writeErrorOf(error, packageFolder) ?? error;
  }
}

/** Removes what a killed process has left. */
function removeAbandoned(packageFolder: string): void {
  for (const name of readdirSync(packageFolder)) {
    const owner = name.startsWith(STAGING) ? Number.parseInt(name.slice(STAGING.length), 10) : Number.NaN;
    if (Number.isNaN(owner) || isRunning(owner)) continue;
    try {
      rmSync(join(packageFolder, name), { recursive: true, force: true });
    } catch {
      // It belongs to another user and does no harm.
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/** Runs the copied script to its end and returns what it wrote. */
async function runScript(staging: string, download: CudaDownload): Promise<string> {
  const { signal, onProgress, stallLimitMs = STALL_LIMIT_MS } = download;
  const child = spawn(process.execPath, ["--require", join(staging, PRELOAD), join(staging, "script", "install.js")], {
    cwd: staging,
    env: scriptEnvironment(join(staging, "tmp")),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  const stop = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", stop);
  let isStalled = false;
  let received = 0;
  let lastGrowth = performance.now();
  const watch = setInterval(() => {
    const bytes = bytesIn(join(staging, "tmp")) + bytesIn(join(staging, "bin"));
    const now = performance.now();
    if (bytes > received) lastGrowth = now;
    received = Math.max(received, bytes);
    onProgress?.(received);
    if (now - lastGrowth <= stallLimitMs) return;
    isStalled = true;
    stop();
  }, POLL_MS);
  try {
    const exitCode = await ended(child);
    if (signal?.aborted) throw new InterruptedError("Interrupted: nothing was installed.");
    if (isStalled) throw unreachable(`no byte arrived for ${stallLimitMs / 1000} seconds`);
    if (exitCode !== 0) throw scriptError(output);
    return output;
  } finally {
    clearInterval(watch);
    signal?.removeEventListener("abort", stop);
  }
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
}

/**
 * The script's environment: forces the download, into a folder that is removed afterwards, through the usual proxy
 * variables (the script's proxy library has variables of its own).
 */
function scriptEnvironment(temporary: string, env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const https = env.HTTPS_PROXY || env.https_proxy || env.npm_config_https_proxy;
  const http = env.HTTP_PROXY || env.http_proxy || env.npm_config_proxy;
  const none = env.NO_PROXY || env.no_proxy || env.npm_config_noproxy;
  return {
    ...(https || http ? { GLOBAL_AGENT_HTTPS_PROXY: withScheme(https || http || "") } : {}),
    ...(http ? { GLOBAL_AGENT_HTTP_PROXY: withScheme(http) } : {}),
    ...(none ? { GLOBAL_AGENT_NO_PROXY: none } : {}),
    ...env,
    ...{ ONNXRUNTIME_NODE_INSTALL: "true", TMPDIR: temporary },
  };
}

function withScheme(proxy: string): string {
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}

/** Bytes of all files below a folder. Files may go while it looks. */
function bytesIn(folder: string): number {
  const found = pathsBelow(folder).map((path) => statSync(join(folder, path), { throwIfNoEntry: false }));
  return found.reduce((bytes, entry) => bytes + (entry?.isFile() ? entry.size : 0), 0);
}

function scriptError(output: string): Error {
  const said =
    output.match(/^\s*(?:\w*Error|\[?Error).*?: .*$/m)?.[0]?.trim() ?? output.trim().split("\n").at(-1) ?? "";
  const words = said.replace(/^(?:Uncaught )?\w*Error: /, "");
  if (/\bENOSPC\b/.test(output)) return diskFull();
  if (CERTIFICATE_FAULT.test(words))
    return unreachable(words, "If a proxy signs with a certificate of its own, name it in NODE_EXTRA_CA_CERTS.");
  if (NETWORK_FAULT.test(words)) return unreachable(words);
  return new ProviderError(
    `CUDA was not installed: the download from ${CUDA_DOWNLOAD.host} failed: ${words}. Nothing was changed. Try again; through a proxy, set HTTPS_PROXY.`,
  );
}

function unreachable(
  why: string,
  hint = "If this network needs a proxy, set HTTPS_PROXY=http://host:port.",
): ProviderError {
  return new ProviderError(
    `CUDA was not installed: ${CUDA_DOWNLOAD.host} could not be reached (${why}). Nothing was changed. ${hint} If it cannot be reached from here, install on a machine from where it can, and copy the folder or the image.`,
  );
}

/** The downloaded libraries. The script ends without an error even when the connection breaks off. */
function librariesIn(folder: string, output: string): readonly CudaLibrary[] {
  const libraries = pathsBelow(folder)
    .map((path) => join(folder, path))
    .filter((path) => LIBRARY.test(basename(path)))
    .map((path) => ({ path, bytes: statSync(path).size }));
  const broken = libraries.find(({ path }) => !isElf(path));
  if (broken === undefined && libraries.some(({ path }) => path.endsWith("_cuda.so"))) return libraries;
  const what = broken === undefined ? "it broke off" : `${basename(broken.path)} is no library`;
  throw new ProviderError(
    `CUDA was not installed: the download from ${CUDA_DOWNLOAD.host} is not complete (${what}${output.trim() === "" ? "" : `; the script said: ${output.trim().split("\n").at(-1)}`}). Nothing was changed. Try again.`,
  );
}

/** Paths below a folder, relative to it; none when it is not there, or is being removed. */
function pathsBelow(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: "utf8" });
  } catch {
    return [];
  }
}

function isElf(path: string): boolean {
  const file = openSync(path, "r");
  try {
    const start = Buffer.alloc(ELF.length);
    readSync(file, start, 0, ELF.length, 0);
    return start.equals(ELF);
  } finally {
    closeSync(file);
  }
}

/** Moves them to where ONNX Runtime looks. The one by which we tell whether CUDA is installed comes last. */
function place(libraries: readonly CudaLibrary[], target: string): readonly CudaLibrary[] {
  const isLast = ({ path }: CudaLibrary) => Number(path.endsWith("_cuda.so"));
  return [...libraries]
    .sort((a, b) => isLast(a) - isLast(b))
    .map(({ path, bytes }) => {
      const placed = join(target, basename(path));
      renameSync(path, placed);
      return { path: placed, bytes };
    });
}

function diskFull(): OutputWriteError {
  const { downloadMegabytes, diskMegabytes } = CUDA_DOWNLOAD;
  return new OutputWriteError(
    `CUDA was not installed: the disk is full. Nothing was changed. About ${downloadMegabytes + 2 * diskMegabytes} MB are needed while it installs, ${diskMegabytes} MB afterwards.`,
  );
}

/** An error of the file system as one that says what to do; undefined for other errors. */
function writeErrorOf(error: unknown, folder: string): OutputWriteError | undefined {
  const code = codeOf(error);
  if (code === "ENOSPC" || code === "EDQUOT") return diskFull();
  const cannot = `CUDA was not installed: ${folder} cannot be written`;
  if (code === "EROFS")
    return new OutputWriteError(`${cannot}: it is on a read-only file system. Install CUDA when the image is built.`);
  if (code === "EACCES" || code === "EPERM")
    return new OutputWriteError(
      `${cannot} by this user (${code}). Run the same command as the user who installed the program: sudo ${[process.execPath, process.argv[1] ?? "create-kv-scales"].map(quoted).join(" ")} providers --install cuda`,
    );
  return undefined;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** A path, quoted for a shell. */
function quoted(path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
