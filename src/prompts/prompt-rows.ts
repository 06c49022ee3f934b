// Turns a row of a data set into a prompt: text or messages, in the layouts that people publish. Knows nothing of
// files: a row is an object.

import { isObject, parsePythonJson, showJson } from "../checkpoint/json-text.js";
import { PromptDataError } from "../errors.js";

/** A part of a message's content; parts that are no text are refused. */
export interface TextPart {
  readonly type: "text";
  readonly text: string;
}

/** A message as a chat template gets it, with all its keys: `tool_calls`, `name`, `reasoning_content` and others. */
export interface Message {
  readonly role: string;
  /** null or absent only beside tool calls. */
  readonly content?: string | readonly TextPart[] | null;
  readonly [key: string]: unknown;
}

export interface Conversation {
  readonly messages: readonly Message[];
  /** JSON schemas of the functions that the model may call, as the template gets them. */
  readonly tools?: readonly unknown[];
}

/** Text is used as it is; messages go through the checkpoint's chat template. */
export type Prompt = { readonly source: string } & ({ readonly text: string } | Conversation);

/** The columns to read, in files where reading fewer saves time. */
export const PROMPT_COLUMNS: readonly string[] = [
  ...["text", "messages", "conversations", "conversation", "prompt", "completion"],
  ...["instruction", "input", "output", "system", "tools"],
];

/** Roles by ShareGPT's speakers. */
const SHAREGPT_ROLES: Readonly<Record<string, string>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  assistant: "assistant",
  model: "assistant",
  system: "system",
  tool: "tool",
  observation: "tool",
  function_response: "tool",
};

/** Number of keys that an error shows. */
const SHOWN_KEYS = 10;

/** Why a row is no prompt, if there is a better reason than its keys. */
class RowProblem extends Error {}

/**
 * The prompt of a row: `text`; `messages`; `conversations` (ShareGPT); `prompt` and `completion`; or `instruction`,
 * `input` and `output` (Alpaca). The first of these counts.
 * @param column with text or messages, used instead of these
 * @throws PromptDataError naming the source
 */
export function promptOfRow(row: unknown, source: string, column?: string): Prompt {
  let detail = "";
  try {
    const content = isObject(row) ? contentOfRow(row, column) : undefined;
    if (content !== undefined) return { source, ...content };
  } catch (cause) {
    if (!(cause instanceof RowProblem)) throw cause;
    detail = ` (${cause.message})`;
  }
  const keys = isObject(row) ? Object.keys(row).slice(0, SHOWN_KEYS).join(", ") || "none" : undefined;
  const found = `${keys === undefined ? showJson(row) : `keys ${keys}`}${detail}`;
  if (column !== undefined) {
    throw new PromptDataError(
      `${source}: expected an object whose "${column}" is a text or a list of messages; found ${found}`,
    );
  }
  throw new PromptDataError(
    `${source}: expected an object with "text", with "messages" (role and content), with "conversations" (from and value), with "prompt" and "completion", or with "instruction" and "output"; found ${found}. Another column can be named: --data-column`,
  );
}

type Content = { readonly text: string } | Conversation;

function contentOfRow(row: Readonly<Record<string, unknown>>, column: string | undefined): Content | undefined {
  if (column !== undefined) {
    const value = Object.hasOwn(row, column) ? row[column] : undefined;
    return typeof value === "string" ? { text: value } : conversation(row, value);
  }
  const { text, prompt, completion } = row;
  if (typeof text === "string") return { text };
  const talk =
    conversation(row, row.messages) ?? conversation(row, row.conversations) ?? conversation(row, row.conversation);
  if (talk !== undefined) return talk;
  if (typeof prompt === "string" && typeof completion === "string") return { text: prompt + completion };
  if (Array.isArray(prompt) && Array.isArray(completion)) return conversation(row, [...prompt, ...completion]);
  return instructionOf(row);
}

/** Messages of a list; undefined when it is none, or empty. @throws RowProblem when an entry is no message */
function conversation(row: Readonly<Record<string, unknown>>, list: unknown): Conversation | undefined {
  if (!Array.isArray(list) || list.length === 0) return undefined;
  const messages = list.map((entry: unknown, index) => toMessage(entry, index + 1));
  const isLed = messages.some(({ role }) => role === "system" || role === "developer");
  const tools = toolsOf(row.tools);
  return {
    messages: isLed ? messages : [...systemOf(row), ...messages],
    ...(tools !== undefined && { tools }),
  };
}

function systemOf({ system }: Readonly<Record<string, unknown>>): Message[] {
  return typeof system === "string" && system !== "" ? [{ role: "system", content: system }] : [];
}

function toMessage(entry: unknown, number: number): Message {
  if (!isObject(entry)) throw new RowProblem(`message ${number} is ${showJson(entry)}`);
  if (typeof entry.role !== "string" && typeof entry.from === "string") return fromShareGpt(entry, number);
  const { role, content } = entry;
  if (typeof role !== "string") throw new RowProblem(`message ${number} has no role`);
  if (typeof content === "string" || isTextParts(content)) return { ...entry, role, content };
  const callsTools = isObject(entry.function_call) || (Array.isArray(entry.tool_calls) && entry.tool_calls.length > 0);
  if ((content === undefined || content === null) && callsTools) {
    const { content: _absent, ...others } = entry;
    return content === null ? { ...others, role, content } : { ...others, role };
  }
  const others = Array.isArray(content) ? " (only parts of type text are known)" : "";
  throw new RowProblem(`message ${number} has the content ${showJson(content)}${others}`);
}

function isTextParts(content: unknown): content is TextPart[] {
  return (
    Array.isArray(content) &&
    content.length > 0 &&
    content.every((part) => isObject(part) && part.type === "text" && typeof part.text === "string")
  );
}

function fromShareGpt({ from, value }: Readonly<Record<string, unknown>>, number: number): Message {
  const speaker = String(from);
  const role = Object.hasOwn(SHAREGPT_ROLES, speaker) ? SHAREGPT_ROLES[speaker] : undefined;
  if (role === undefined) {
    const known = Object.keys(SHAREGPT_ROLES).join(", ");
    throw new RowProblem(`message ${number} is from ${showJson(from)}; known are ${known}`);
  }
  if (typeof value !== "string") throw new RowProblem(`message ${number} has the value ${showJson(value)}`);
  return { role, content: value };
}

/** A list, or the JSON of one: tables have no other way to hold schemas that differ. */
function toolsOf(tools: unknown): readonly unknown[] | undefined {
  if (typeof tools === "string" && tools.trim() !== "") {
    const list = toolsOfJson(tools);
    if (Array.isArray(list)) return list;
    throw new RowProblem(`its tools are no JSON list: ${showJson(tools)}`);
  }
  return Array.isArray(tools) && tools.length > 0 ? tools : undefined;
}

function toolsOfJson(text: string): unknown {
  try {
    return parsePythonJson("tools", text);
  } catch {
    return undefined;
  }
}

/** Alpaca's rows, as a conversation: the input stands below the instruction. */
function instructionOf(row: Readonly<Record<string, unknown>>): Conversation | undefined {
  const { instruction, input, output } = row;
  if (typeof instruction !== "string" || typeof output !== "string") return undefined;
  const asked = typeof input === "string" && input !== "" ? `${instruction}\n\n${input}` : instruction;
  return {
    messages: [...systemOf(row), { role: "user", content: asked }, { role: "assistant", content: output }],
  };
}

/** The text of a message: its parts joined line by line, as vLLM does for templates that know texts alone. */
export function textOfMessage({ content }: Message): string {
  if (typeof content === "string") return content;
  return (content ?? []).map(({ text }) => text).join("\n");
}
