// Turns messages into text with the checkpoint's own chat template (Jinja, rendered in an interpreter without access to
// anything). Knows nothing of tokens.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Template } from "@huggingface/jinja";
import { CheckpointError, messageOf, PromptDataError } from "../errors.js";
import type { Message } from "./read-prompts.js";

/** @param opensAnswer whether the assistant's turn begins at the end, for the model to go on */
export type RenderMessages = (messages: readonly Message[], source: string, opensAnswer?: boolean) => string;

/**
 * The renderer of a checkpoint: chat_template.jinja, else chat_template in tokenizer_config.json; undefined when it has
 * none (a base model).
 * @throws CheckpointError when the template cannot be parsed
 */
export async function openChatTemplate(
  folder: string,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): Promise<RenderMessages | undefined> {
  const source = (await readTemplateFile(folder)) ?? templateOfConfig(tokenizerConfig.chat_template);
  if (source === undefined) return undefined;
  const template = parseTemplate(folder, source);
  const variables = specialTokens(tokenizerConfig);
  return (messages, origin, opensAnswer = false) => {
    const render = (shown: readonly Message[]) =>
      template.render({ ...variables, messages: shown, add_generation_prompt: opensAnswer });
    return renderOrMergeSystem(render, messages, origin);
  };
}

async function readTemplateFile(folder: string): Promise<string | undefined> {
  try {
    return await readFile(join(folder, "chat_template.jinja"), "utf8");
  } catch {
    return undefined;
  }
}

/** A template, or a list of named ones of which "default" is for conversation. */
function templateOfConfig(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as readonly { readonly name?: unknown; readonly template?: unknown }[];
  const template = (named.find(({ name }) => name === "default") ?? named[0])?.template;
  return typeof template === "string" ? template : undefined;
}

function parseTemplate(folder: string, source: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    throw new CheckpointError(`${folder}: the chat template cannot be parsed: ${messageOf(cause)}`, { cause });
  }
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

/** Some templates refuse the system role: its text then goes in front of the first user message. */
function renderOrMergeSystem(
  render: (messages: readonly Message[]) => string,
  messages: readonly Message[],
  source: string,
): string {
  const [system, user, ...others] = messages;
  try {
    return render(messages);
  } catch (cause) {
    if (system?.role !== "system" || user === undefined) throw templateError(source, cause);
    try {
      return render([{ role: user.role, content: `${system.content}\n\n${user.content}` }, ...others]);
    } catch (mergedCause) {
      throw templateError(source, mergedCause);
    }
  }
}

function templateError(source: string, cause: unknown): PromptDataError {
  return new PromptDataError(`${source}: the checkpoint's chat template refuses these messages: ${messageOf(cause)}`, {
    cause,
  });
}

/** For base models: a transcript, role by role. */
export const renderTranscript: RenderMessages = (messages, _source, opensAnswer = false) =>
  [
    ...messages.map(({ role, content }) => `${role.charAt(0).toUpperCase()}${role.slice(1)}: ${content}`),
    ...(opensAnswer ? ["Assistant:"] : []),
  ].join("\n\n");
