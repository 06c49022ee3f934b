// Turns messages into text with the checkpoint's own chat template (Jinja, rendered in an interpreter without access to
// anything). Knows nothing of tokens.

import { join } from "node:path";
import { Template } from "@huggingface/jinja";
import { isObject, showJson } from "../checkpoint/json-text.js";
import { readOptionalTextFile } from "../checkpoint/text-files.js";
import { CheckpointError, messageOf, PromptDataError } from "../errors.js";
import type { Message } from "./read-prompts.js";

/** @param opensAnswer whether the assistant's turn begins at the end, for the model to go on */
export type RenderMessages = (messages: readonly Message[], source: string, opensAnswer?: boolean) => string;

export interface ChatTemplate {
  /** The file that it stands in. */
  readonly path: string;
  readonly source: string;
}

/**
 * Finds the template of a checkpoint: chat_template.jinja, else chat_template in tokenizer_config.json; undefined when it
 * has none (a base model).
 * @throws CheckpointError when the file cannot be read
 */
export async function findChatTemplate(
  folder: string,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): Promise<ChatTemplate | undefined> {
  const path = join(folder, "chat_template.jinja");
  const ofFile = await readOptionalTextFile(path);
  if (ofFile !== undefined) return { path, source: ofFile };
  const configPath = join(folder, "tokenizer_config.json");
  const ofConfig = templateOfConfig(configPath, tokenizerConfig.chat_template);
  return ofConfig === undefined ? undefined : { path: configPath, source: ofConfig };
}

/**
 * How the template renders messages. Both this and rendering take as long as the template likes.
 * @throws CheckpointError when the template cannot be parsed
 */
export function parseChatTemplate(
  { path, source }: ChatTemplate,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): RenderMessages {
  const template = parseTemplate(path, source);
  const variables = specialTokens(tokenizerConfig);
  return (messages, origin, opensAnswer = false) => {
    const render = (shown: readonly Message[]) =>
      template.render({ ...variables, messages: shown, add_generation_prompt: opensAnswer });
    return renderOrMergeSystem(render, messages, { path, origin });
  };
}

/** A template, or a list of named ones of which "default" is for conversation. */
function templateOfConfig(path: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  const named: readonly unknown[] = Array.isArray(value) ? value : [];
  const chosen = named.find((entry) => isObject(entry) && entry.name === "default") ?? named[0];
  if (isObject(chosen) && typeof chosen.template === "string") return chosen.template;
  if (Array.isArray(value) && value.length === 0) return undefined;
  throw new CheckpointError(
    `${path}: chat_template: expected a template or a list of objects with "name" and "template", found ${showJson(value)}`,
  );
}

function parseTemplate(path: string, source: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    throw new CheckpointError(`${path}: the chat template cannot be parsed: ${reasonOf(cause)}`, { cause });
  }
}

/** The stack ends where a template, or what it makes, nests too deeply. The library puts words of its own in front. */
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

/** Some templates refuse the system role: its text then goes in front of the first user message. */
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
      return render([{ role: user.role, content: `${system.content}\n\n${user.content}` }, ...others]);
    } catch (mergedCause) {
      throw templateError(rendering, mergedCause);
    }
  }
}

/** What the language's own limits end: a text, a list or a nesting that no conversation needs. */
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

/** For base models: a transcript, role by role. */
export const renderTranscript: RenderMessages = (messages, _source, opensAnswer = false) =>
  [
    ...messages.map(({ role, content }) => `${role.charAt(0).toUpperCase()}${role.slice(1)}: ${content}`),
    ...(opensAnswer ? ["Assistant:"] : []),
  ].join("\n\n");
