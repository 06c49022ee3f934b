// The process in which a checkpoint's tokenizer and chat template run. Both are untrusted and may never end: the parent
// is told of each step before it begins, and ends this process when one takes too long.

import { join } from "node:path";
import { CheckpointError } from "../errors.js";
import type { Prompt } from "../prompts/prompt-rows.js";
import { openTokenizer, type PromptTokenizer } from "../prompts/tokenizer.js";
import { describeFailure } from "./child-process.js";
import { superviseChild } from "./child-supervision.js";
import { sha256 } from "./texts-hash.js";
import type { EncodeRequest, FromTokenizer, ToTokenizer } from "./tokenizer-process.js";

const [, , parentId, memoryBytes, folder = ""] = process.argv;
superviseChild({ parentId: Number(parentId), memoryBytes: Number(memoryBytes) });

/** A hundred books. What is longer, a template has made by going round and round; and it is to be sent on whole. */
const MAX_RENDERED_CHARACTERS = 2 ** 26;

const tokenizerPath = join(folder, "tokenizer.json");
const opening = openTokenizer(folder, takeStep);
opening.catch(() => {}); // the parent hears of it when it asks

process.on("message", async (request: ToTokenizer) => {
  try {
    await answer(await opening, request);
    await send({ kind: "done" });
  } catch (error) {
    await send(describeFailure(error));
  }
});

async function answer(tokenizer: PromptTokenizer, request: ToTokenizer): Promise<void> {
  switch (request.kind) {
    case "open": {
      const { json, templatePath, special } = tokenizer;
      const { source, warning } = special;
      return await send({
        kind: "opened",
        opened: { tokenizerSha256: sha256(json), templatePath, special: { source, warning } },
      });
    }
    case "encode":
      for (const prompt of request.prompts) await encode(tokenizer, prompt, request);
      return;
    case "decode":
      for (const ids of request.ids) {
        await takeStep(tokenizerPath, "decoding a generated text");
        await send({ kind: "decoded", text: tokenizer.decode(ids) });
      }
  }
}

async function encode(
  tokenizer: PromptTokenizer,
  prompt: Prompt,
  { opensAnswer, maxTokens }: EncodeRequest,
): Promise<void> {
  const { templatePath } = tokenizer;
  const { source } = prompt;
  const isChat = "messages" in prompt;
  if (isChat && templatePath !== undefined) await takeStep(templatePath, `rendering ${source}`);
  const text = tokenizer.render(prompt, opensAnswer);
  if (isChat && text.length > MAX_RENDERED_CHARACTERS) {
    throw new CheckpointError(
      `${templatePath ?? source}: the text of ${source} has ${text.length} characters, more than the limit of ${MAX_RENDERED_CHARACTERS}`,
    );
  }
  await takeStep(tokenizerPath, `tokenizing ${source}`);
  const ids = tokenizer.tokenize(text, prompt);
  const encoded = {
    text: isChat ? text : undefined,
    ids: ids.slice(0, maxTokens),
    length: ids.length,
    largestId: ids.reduce((largest, id) => Math.max(largest, id), 0),
  };
  await send({ kind: "encoded", encoded });
}

function takeStep(path: string, doing: string): Promise<void> {
  return send({ kind: "step", step: { path, doing } });
}

/** Waits until the message has gone out: what comes next may leave no moment for it. */
function send(message: FromTokenizer): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(message, () => resolve());
  });
}
