// A real Chromium without a window, driven over its debugging pipe: what a page logs, asks for, is laid out as and looks
// like. Knows no report.

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Readable, Writable } from "node:stream";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
const PLACES = [
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/** Chromium or Chrome: $CHROME_PATH, or the first on the PATH. Undefined when there is none. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const onPath = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  return [process.env.CHROME_PATH ?? "", ...onPath, ...PLACES].find((path) => path !== "" && isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

type Json = Record<string, unknown>;

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Json;
  readonly result?: Json;
  readonly error?: { readonly message: string };
  readonly sessionId?: string;
}

export interface Screen {
  readonly width: number;
  readonly height?: number;
  readonly scheme: "light" | "dark";
}

/** A browser with a profile of its own, in a temporary folder. */
export class Chromium {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, { resolve: (result: Json) => void; reject: (error: Error) => void }>();
  readonly #pages = new Map<string, (method: string, params: Json) => void>();
  #lastId = 0;
  #unread = "";

  constructor(path: string) {
    this.#profile = mkdtempSync(join(tmpdir(), "create-kv-scales-chromium-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"];
    const args = [...flags, "--remote-debugging-pipe", `--user-data-dir=${this.#profile}`, "about:blank"];
    this.#process = spawn(path, args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    const input = this.#process.stdio[4] as Readable;
    input.setEncoding("utf8").on("data", (chunk: string) => this.#read(chunk));
    this.#process.on("close", () => this.#fail(new Error(`${path} has ended`)));
    this.#process.on("error", (error) => this.#fail(error));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** Messages are JSON, each ended by a NUL. */
  #read(chunk: string): void {
    const messages = (this.#unread + chunk).split("\0");
    this.#unread = messages.pop() ?? "";
    for (const text of messages) {
      const { id, method, params = {}, result = {}, error, sessionId = "" } = JSON.parse(text) as Message;
      if (method !== undefined) this.#pages.get(sessionId)?.(method, params);
      const waiting = this.#waiting.get(id ?? 0);
      this.#waiting.delete(id ?? 0);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error.message));
    }
  }

  send(method: string, params: Json = {}, sessionId?: string): Promise<Json> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const pipe = this.#process.stdio[3] as Writable;
      pipe.write(`${JSON.stringify({ id, method, params, ...(sessionId !== undefined && { sessionId }) })}\0`);
    });
  }

  /** Opens a page on a screen and waits until it is loaded and its scripts have run. */
  async open(url: string, { width, height = 900, scheme }: Screen): Promise<OpenPage> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new OpenPage(
      (method, params) => this.send(method, params, String(sessionId)),
      () => this.send("Target.closeTarget", { targetId }),
    );
    this.#pages.set(String(sessionId), (method, params) => page.hear(method, params));
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.send(`${domain}.enable`);
    const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await page.send("Emulation.setDeviceMetricsOverride", metrics);
    await page.setScheme(scheme);
    const loaded = page.once("Page.loadEventFired");
    await page.send("Page.navigate", { url });
    await loaded;
    return page;
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("close", resolve));
    await this.send("Browser.close").catch(() => this.#process.kill());
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A page that is open, and what it has said and asked for so far. */
export class OpenPage {
  readonly send: (method: string, params?: Json) => Promise<Json>;
  readonly close: () => Promise<Json>;
  /** Warnings, errors, exceptions, and everything else that a console would show. */
  readonly console: string[] = [];
  /** URLs, that of the page first. */
  readonly requests: string[] = [];
  readonly #listeners = new Map<string, () => void>();

  constructor(send: OpenPage["send"], close: OpenPage["close"]) {
    this.send = send;
    this.close = close;
  }

  hear(method: string, params: Json): void {
    if (method === "Network.requestWillBeSent")
      this.requests.push((params as { request: { url: string } }).request.url);
    if (["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"].includes(method))
      this.console.push(JSON.stringify(params));
    this.#listeners.get(method)?.();
  }

  once(method: string): Promise<void> {
    return new Promise((resolve) => this.#listeners.set(method, resolve));
  }

  setScheme(scheme: Screen["scheme"]): Promise<Json> {
    return this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  }

  /** The value of an expression in the page; a promise is waited for. */
  async evaluate<Value>(expression: string): Promise<Value> {
    const options = { expression, returnByValue: true, awaitPromise: true };
    const answer = await this.send("Runtime.evaluate", options);
    if (answer.exceptionDetails !== undefined) throw new Error(JSON.stringify(answer.exceptionDetails));
    return (answer.result as { value: Value }).value;
  }
}
