// Turns messages into text with the checkpoint's chat template (Jinja, rendered in an interpreter without access to the
// system). Knows nothing of tokens.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isObject, parseJsonObject, showJson } from "../checkpoint/json-text.js";
import { readOptionalTextFile, readTextFile } from "../checkpoint/text-files.js";
import { CheckpointError, messageOf, PromptDataError } from "../errors.js";
import { parseJinja, type RenderTemplate } from "./jinja-template.js";
import { type Conversation, type Message, textOfMessage } from "./prompt-rows.js";

/** @param opensAnswer whether the assistant's turn begins at the end, for the model to go on */
export type RenderMessages = (conversation: Conversation, source: string, opensAnswer?: boolean) => string;

export interface ChatTemplate {
  /** The file that it stands in. */
  readonly path: string;
  readonly source: string;
}

/** By name: "default" is for conversations, "tool_use" for those with tools. */
export type ChatTemplates = ReadonlyMap<string, ChatTemplate>;

const FILE = "chat_template.jinja";
const FOLDER = "additional_chat_templates";
const DEFAULT = "default";

/** Files of processors, which multimodal models have; the older one holds nothing else. */
const OLD_FILE = "chat_template.json";
const PROCESSOR_FILE = "processor_config.json";

/**
 * Finds the templates of a checkpoint: chat_template.jinja and the files of additional_chat_templates, else `chat_template`
 * in chat_template.json, which engines prefer to the tokenizer's, in tokenizer_config.json or in processor_config.json.
 * Empty when it has none (a base model).
 * @throws CheckpointError when a file cannot be read
 */
export async function findChatTemplates(
  folder: string,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): Promise<ChatTemplates> {
  const ofFiles = new Map<string, ChatTemplate>();
  const path = join(folder, FILE);
  const source = await readOptionalTextFile(path);
  if (source !== undefined) ofFiles.set(DEFAULT, { path, source });
  for (const name of await namesIn(join(folder, FOLDER))) {
    const named = join(folder, FOLDER, name);
    ofFiles.set(name.slice(0, -".jinja".length), { path: named, source: await readTextFile(named) });
  }
  if (ofFiles.size > 0) return ofFiles;
  const ofOldFile = await templatesOfFile(join(folder, OLD_FILE));
  if (ofOldFile.size > 0) return ofOldFile;
  const ofTokenizer = templatesOfConfig(join(folder, "tokenizer_config.json"), tokenizerConfig.chat_template);
  return ofTokenizer.size > 0 ? ofTokenizer : await templatesOfFile(join(folder, PROCESSOR_FILE));
}

/** Empty where the file is not there. */
async function templatesOfFile(path: string): Promise<ChatTemplates> {
  const text = await readOptionalTextFile(path);
  return text === undefined ? new Map() : templatesOfConfig(path, parseJsonObject(path, text).chat_template);
}

async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith(".jinja")).sort();
}

/**
 * Makes the function that renders messages. Parsing and rendering may take forever with a hostile template.
 * @throws CheckpointError when a template cannot be parsed, or none is for conversations
 */
export function parseChatTemplates(
  templates: ChatTemplates,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): RenderMessages {
  const standard = templates.get(DEFAULT);
  const forTools = templates.get("tool_use");
  const render = standard && parseChatTemplate(standard, tokenizerConfig);
  const renderWithTools = forTools && parseChatTemplate(forTools, tokenizerConfig);
  return (conversation, origin, opensAnswer) => {
    const chosen = conversation.tools === undefined ? render : (renderWithTools ?? render);
    if (chosen !== undefined) return chosen(conversation, origin, opensAnswer);
    const [first] = templates.values();
    throw new CheckpointError(
      `${first?.path}: has the chat templates ${[...templates.keys()].sort().join(", ")}, and none is called "${DEFAULT}". transformers takes none of them by itself: put the one to use into ${FILE}.`,
    );
  };
}

function parseChatTemplate(
  { path, source }: ChatTemplate,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): RenderMessages {
  const template = parseTemplate(path, source);
  const variables = specialTokens(tokenizerConfig);
  const reading = { takesParts: TAKES_PARTS.test(source), takesTexts: TAKES_TEXTS.test(source) };
  return ({ messages, tools = null }, origin, opensAnswer = false) => {
    // transformers always passes tools and documents; without any, they are None, which is defined.
    const always = { tools, documents: null, add_generation_prompt: opensAnswer };
    const render = (shown: readonly Message[]) =>
      template({ ...variables, ...always, messages: shown.map((message) => asRead(message, reading)) });
    return renderOrMergeSystem(render, messages, { path, origin });
  };
}

/** Of a template that goes through the parts of a content, as vLLM finds it. */
const TAKES_PARTS = /\bfor\s+\w+\s+in\s+[\w.[\]'"]*content/;

/** Of one that goes through parts only where the content is no text. */
const TAKES_TEXTS = /content['"\]]*\s+is\s+(not\s+)?string\b/;

interface Reading {
  readonly takesParts: boolean;
  readonly takesTexts: boolean;
}

const REASONING = ["reasoning_content", "thinking", "reasoning"];

/**
 * A message as transformers and vLLM hand it on: parts as one text where a template knows no parts, and a text as one part
 * where it knows nothing else.
 */
function asRead(message: Message, { takesParts, takesTexts }: Reading): Message {
  const { content } = message;
  const isJoined = !takesParts && typeof content === "object" && content !== null;
  const isPart = takesParts && !takesTexts && typeof content === "string";
  const one = isPart ? { ...message, content: [{ type: "text", text: content } as const] } : message;
  const shown = isJoined ? { ...message, content: textOfMessage(message) } : one;
  const reasoning = REASONING.map((key) => message[key]).find((value) => value !== undefined && value !== null);
  return reasoning === undefined ? shown : { thinking: reasoning, ...shown, reasoning_content: reasoning };
}

/** A template, or a list of named ones. */
function templatesOfConfig(path: string, value: unknown): ChatTemplates {
  if (value === undefined || value === null) return new Map();
  if (typeof value === "string") return new Map([[DEFAULT, { path, source: value }]]);
  const named: readonly unknown[] = Array.isArray(value) ? value : [value];
  const templates = new Map<string, ChatTemplate>();
  for (const entry of named) {
    if (!isObject(entry) || typeof entry.name !== "string" || typeof entry.template !== "string") {
      throw new CheckpointError(
        `${path}: chat_template: expected a template or a list of objects with "name" and "template", found ${showJson(value)}`,
      );
    }
    templates.set(entry.name, { path, source: entry.template });
  }
  return templates;
}

function parseTemplate(path: string, source: string): RenderTemplate {
  try {
    return parseJinja(source);
  } catch (cause) {
    throw new CheckpointError(`${path}: the chat template cannot be parsed: ${reasonOf(cause)}`, { cause });
  }
}

/**
 * A template, or its output, that nests too deeply exhausts the stack. The library puts its own words before the
 * message.
 */
function isStackFull(cause: unknown): boolean {
  return messageOf(cause).includes("call stack");
}

function reasonOf(cause: unknown): string {
  return isStackFull(cause) ? "it nests too deeply" : messageOf(cause);
}

/** bos_token and the like are strings, or objects with `content`. */
function specialTokens(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    if (!key.endsWith("_token")) continue;
    const content = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
    if (typeof content === "string") tokens[key] = content;
  }
  return tokens;
}

/** Which template renders which prompt. */
interface Rendering {
  readonly path: string;
  readonly origin: string;
}

/** Some templates refuse the system role: its text is then put before the first user message. */
function renderOrMergeSystem(
  render: (messages: readonly Message[]) => string,
  messages: readonly Message[],
  rendering: Rendering,
): string {
  const [system, user, ...others] = messages;
  try {
    return render(messages);
  } catch (cause) {
    if (system?.role !== "system" || user === undefined || isTooMuch(cause)) throw templateError(rendering, cause);
    try {
      const content = `${textOfMessage(system)}\n\n${textOfMessage(user)}`;
      return render([{ ...user, content }, ...others]);
    } catch (mergedCause) {
      throw templateError(rendering, mergedCause);
    }
  }
}

/** Errors of JavaScript's own limits: a text, a list or a nesting that no conversation needs. */
function isTooMuch(cause: unknown): boolean {
  return cause instanceof RangeError || isStackFull(cause);
}

function templateError({ path, origin }: Rendering, cause: unknown): CheckpointError | PromptDataError {
  if (isTooMuch(cause)) {
    return new CheckpointError(`${path}: the chat template makes too much of ${origin}: ${reasonOf(cause)}`, { cause });
  }
  return new PromptDataError(`${origin}: the checkpoint's chat template refuses these messages: ${reasonOf(cause)}`, {
    cause,
  });
}

/** For base models: a transcript, role by role; calls of tools as the JSON that they are. */
export const renderTranscript: RenderMessages = ({ messages }, _source, opensAnswer = false) =>
  [
    ...messages.map((message) => `${message.role.charAt(0).toUpperCase()}${message.role.slice(1)}: ${spoken(message)}`),
    ...(opensAnswer ? ["Assistant:"] : []),
  ].join("\n\n");

function spoken(message: Message): string {
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls : [message.function_call ?? []].flat();
  return [textOfMessage(message), ...calls.map((call) => JSON.stringify(call))]
    .filter((text) => text !== "")
    .join("\n");
}
