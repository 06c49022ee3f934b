// Tokenizes in a process of its own. Regular expressions, normalizers and chat templates come with the checkpoint, and
// some of them never end or fill the memory: there they can be stopped. Knows how long and how much; not what they do.

import { join, parse } from "node:path";
import { CheckpointError, InterruptedError } from "../errors.js";
import type { Prompt } from "../prompts/prompt-rows.js";
import { type ChildFailure, type EndOfChild, isInterruption, reviveFailure, startChild } from "./child-process.js";
import { OVER_MEMORY } from "./child-supervision.js";

export type ToTokenizer =
  | { readonly kind: "open" }
  | ({ readonly kind: "encode"; readonly prompts: readonly Prompt[] } & EncodeRequest)
  | { readonly kind: "decode"; readonly ids: readonly (readonly number[])[] };

export type FromTokenizer =
  | { readonly kind: "step"; readonly step: TokenizerStep }
  | { readonly kind: "opened"; readonly opened: OpenedTokenizer }
  | { readonly kind: "encoded"; readonly encoded: Omit<EncodedPrompt, "text"> & { readonly text: string | undefined } }
  | { readonly kind: "decoded"; readonly text: string }
  | { readonly kind: "done" }
  | ChildFailure;

export interface EncodeRequest {
  /** Whether the assistant's turn begins after messages, so that what follows is an answer. */
  readonly opensAnswer: boolean;
  /** Ids beyond it are left out. */
  readonly maxTokens: number;
}

export interface EncodedPrompt {
  /** As the model sees it. */
  readonly text: string;
  readonly ids: readonly number[];
  /** Tokens before any were left out. */
  readonly length: number;
  /** Of all of them; 0 when there are none. */
  readonly largestId: number;
}

export interface OpenedTokenizer {
  readonly tokenizerSha256: string;
  /** The file of the chat template; undefined when the checkpoint has none. */
  readonly templatePath: string | undefined;
  /** Which tokens stand around a text, and by whose word. */
  readonly special: { readonly source: string; readonly warning: string | undefined };
}

/** What is being done, for the reader: `${path}: ${doing} took too long`. */
interface TokenizerStep {
  readonly path: string;
  readonly doing: string;
}

export interface TokenizerLimits {
  /** Seconds for starting the process, reading tokenizer.json and parsing the template. */
  readonly openSeconds: number;
  /** Seconds for rendering a prompt, and again for tokenizing it. */
  readonly promptSeconds: number;
  /** Of JavaScript's heap. Resident memory may be half as large again. */
  readonly heapBytes: number;
}

export const TOKENIZER_LIMITS: TokenizerLimits = {
  // The largest tokenizers (262,144 tokens, 500,000 merges, 30 MB) take 4 s and 0.3 GB on one busy core.
  openSeconds: 60,
  // A prompt of 100,000 tokens takes half a second, one of 1,400,000 takes 7 s.
  promptSeconds: 30,
  heapBytes: 2 * 2 ** 30,
};

/** The tokenizer of a checkpoint, ready in another process. */
export interface TokenizerProcess {
  /** @throws CheckpointError when the tokenizer or the template is absent or not understood, as all functions do */
  open(): Promise<OpenedTokenizer>;
  /**
   * Renders and tokenizes prompts, in their order.
   * @param onEncoded is given each as it comes, so that texts need not be kept
   * @throws PromptDataError when the template refuses messages, CheckpointError when a limit is met
   */
  encode(
    prompts: readonly Prompt[],
    request: EncodeRequest,
    onEncoded: (encoded: EncodedPrompt, prompt: Prompt) => void,
  ): Promise<void>;
  /** Texts of ids that a model has generated. */
  decode(ids: readonly (readonly number[])[]): Promise<string[]>;
  /** Ends the process, whatever it does. */
  stop(): void;
}

export interface TokenizerOptions {
  /** The checkpoint's. */
  readonly folder: string;
  readonly signal?: AbortSignal | undefined;
  readonly limits?: TokenizerLimits;
}

/**
 * Starts the process, which opens the tokenizer by itself: starting it early saves the time that takes.
 * @throws ProviderError when the system refuses another process
 */
export function startTokenizerProcess({
  folder,
  signal,
  limits = TOKENIZER_LIMITS,
}: TokenizerOptions): TokenizerProcess {
  const { heapBytes } = limits;
  const { channel, ended, stop } = startChild({
    module: new URL("./tokenizer-child.js", import.meta.url),
    args: [String(1.5 * heapBytes), folder],
    execArgv: [`--max-old-space-size=${Math.ceil(heapBytes / 2 ** 20)}`],
    // Where the system keeps an image of a process that ran out of memory, it shall not be among the user's files.
    cwd: parse(process.execPath).root,
  });
  let isOpen = false;
  let step: TokenizerStep = { path: join(folder, "tokenizer.json"), doing: "loading the tokenizer" };

  async function request(message: ToTokenizer, onAnswer: (message: FromTokenizer) => void): Promise<void> {
    if (signal?.aborted) throw new InterruptedError();
    const clock = startClock(isOpen ? limits.promptSeconds : limits.openSeconds, stop);
    signal?.addEventListener("abort", stop);
    let receive = (_message: FromTokenizer) => {};
    const answered = new Promise<void>((resolve, reject) => {
      receive = (message) => {
        if (message.kind === "done") return resolve();
        if (message.kind === "error" || message.kind === "bug") return reject(reviveFailure(message));
        clock.restart();
        if (message.kind === "step") step = message.step;
        try {
          onAnswer(message);
        } catch (error) {
          reject(error);
        }
      };
      channel.on("message", receive);
    });
    const failed = ended.then((end): never => {
      throw clock.isOver() ? tooSlow(step, clock.seconds) : describeEnd(step, end, heapBytes);
    });
    try {
      channel.send(message, () => {});
      await Promise.race([answered, failed]);
    } catch (error) {
      throw signal?.aborted ? new InterruptedError() : error;
    } finally {
      clock.stop();
      channel.off("message", receive);
      signal?.removeEventListener("abort", stop);
    }
  }

  async function open(): Promise<OpenedTokenizer> {
    const opened: OpenedTokenizer[] = [];
    await request({ kind: "open" }, (message) => {
      if (message.kind === "opened") opened.push(message.opened);
    });
    isOpen = true;
    const [facts] = opened;
    if (facts === undefined) throw new RangeError("the tokenizer's process has not said what it opened");
    return facts;
  }
  const opening = open();
  opening.catch(() => {}); // nobody may have asked yet

  return {
    stop,
    open: () => opening,
    async encode(prompts, options, onEncoded) {
      await opening;
      for (const part of inParts(prompts)) {
        const waiting = part.values();
        await request({ kind: "encode", prompts: part, ...options }, (message) => {
          if (message.kind !== "encoded") return;
          const prompt = waiting.next().value;
          if (prompt === undefined) throw new RangeError("more prompts came back than were sent");
          const text = message.encoded.text ?? ("text" in prompt ? prompt.text : "");
          onEncoded({ ...message.encoded, text }, prompt);
        });
      }
    },
    async decode(ids) {
      await opening;
      const texts: string[] = [];
      await request({ kind: "decode", ids }, (message) => {
        if (message.kind === "decoded") texts.push(message.text);
      });
      return texts;
    },
  };
}

/** Characters that are sent at once, about: the process never waits for more, and messages stay small. */
const PART_CHARACTERS = 2 ** 20;

function* inParts(prompts: readonly Prompt[]): Generator<readonly Prompt[]> {
  let part: Prompt[] = [];
  let characters = 0;
  for (const prompt of prompts) {
    part.push(prompt);
    characters += charactersOf(prompt);
    if (characters < PART_CHARACTERS) continue;
    yield part;
    part = [];
    characters = 0;
  }
  if (part.length > 0) yield part;
}

function charactersOf(prompt: Prompt): number {
  if ("text" in prompt) return prompt.text.length;
  return JSON.stringify([prompt.messages, prompt.tools]).length;
}

interface Clock {
  readonly seconds: number;
  restart(): void;
  isOver(): boolean;
  stop(): void;
}

const TICKS = 20;

/** Counts ticks instead of looking at the time: while both processes are stopped (Ctrl-Z, a laptop asleep), none comes. */
function startClock(seconds: number, onOver: () => void): Clock {
  let ticks = 0;
  const timer = setInterval(
    () => {
      ticks++;
      if (ticks === TICKS) onOver();
    },
    (1000 * seconds) / TICKS,
  );
  return {
    seconds,
    restart() {
      if (ticks < TICKS) ticks = 0;
    },
    isOver: () => ticks >= TICKS,
    stop: () => clearInterval(timer),
  };
}

const ADVICE = "A damaged or malicious pattern, template or file does that: use the publisher's own";

function tooSlow({ path, doing }: TokenizerStep, seconds: number): CheckpointError {
  return new CheckpointError(
    `${path}: ${doing} took longer than the limit of ${seconds} seconds. ${ADVICE}, or give shorter prompts.`,
  );
}

/** How V8 says that its heap is full, or that something is larger than any heap. */
const HEAP_IS_FULL = /out of memory|Allocation failed|invalid size/;

function describeEnd({ path, doing }: TokenizerStep, end: EndOfChild, heapBytes: number): Error {
  if (isInterruption(end)) return new InterruptedError();
  const { code, killedBy, lastWords } = end;
  // V8 aborts when its heap is full; what it says of that may have left the last words to the frames behind it, of whatever
  // wanted the memory.
  const isAborted = killedBy === "SIGABRT" && lastWords.includes("v8::internal::");
  if (killedBy === "SIGKILL" || isAborted || lastWords.includes(OVER_MEMORY) || HEAP_IS_FULL.test(lastWords)) {
    const limit = `${Number((heapBytes / 2 ** 30).toFixed(2))} GiB`;
    return new CheckpointError(
      `${path}: ${doing} needed more memory than the limit of ${limit}, or than there is. ${ADVICE}, or give shorter prompts.`,
    );
  }
  const how = killedBy === null ? `ended with code ${code}` : `was killed by ${killedBy}`;
  return new CheckpointError(
    `${path}: ${doing}: the process that does it ${how}. ${ADVICE}. Its last words: ${lastWords}`,
  );
}
