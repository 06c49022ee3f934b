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

/**
 * The renderer of a checkpoint: chat_template.jinja, else chat_template in tokenizer_config.json; undefined when it has
 * none (a base model).
 * @throws CheckpointError when the template cannot be parsed
 */
export async function openChatTemplate(
  folder: string,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): Promise<RenderMessages | undefined> {
  const file = await readOptionalTextFile(join(folder, "chat_template.jinja"));
  const source = file ?? templateOfConfig(folder, tokenizerConfig.chat_template);
  if (source === undefined) return undefined;
  const template = parseTemplate(folder, source);
  const variables = specialTokens(tokenizerConfig);
  return (messages, origin, opensAnswer = false) => {
    const render = (shown: readonly Message[]) =>
      template.render({ ...variables, messages: shown, add_generation_prompt: opensAnswer });
    return renderOrMergeSystem(render, messages, origin);
  };
}

/** A template, or a list of named ones of which "default" is for conversation. */
function templateOfConfig(folder: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  const named: readonly unknown[] = Array.isArray(value) ? value : [];
  const chosen = named.find((entry) => isObject(entry) && entry.name === "default") ?? named[0];
  if (isObject(chosen) && typeof chosen.template === "string") return chosen.template;
  if (Array.isArray(value) && value.length === 0) return undefined;
  throw new CheckpointError(
    `${join(folder, "tokenizer_config.json")}: chat_template: expected a template or a list of objects with "name" and "template", found ${showJson(value)}`,
  );
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
