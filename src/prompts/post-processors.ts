// The post-processors of tokenizer.json: the special tokens around a text. Pairs of texts are not for calibration.
// Knows nothing of what the tokens are for.

import { isObject, showJson } from "../checkpoint/json-text.js";

/** The ids of a text with those that belong around it. */
export type PostProcess = (ids: readonly number[]) => readonly number[];
type Settings = Readonly<Record<string, unknown>>;

const POST_PROCESSORS: Readonly<Record<string, (settings: Settings) => PostProcess>> = {
  ByteLevel: () => (ids) => ids, // offsets alone
  TemplateProcessing: template,
  BertProcessing: around,
  RobertaProcessing: around,
  Sequence: ({ processors }) => {
    const steps = (Array.isArray(processors) ? processors : []).map(createPostProcessor);
    return (ids) => steps.reduce((processed, step) => step(processed), ids);
  },
};

/** @throws Error naming what is not supported */
export function createPostProcessor(settings: unknown): PostProcess {
  if (settings === null || settings === undefined) return (ids) => ids;
  const type = isObject(settings) ? String(settings.type) : showJson(settings);
  const create = Object.hasOwn(POST_PROCESSORS, type) ? POST_PROCESSORS[type] : undefined;
  if (create === undefined || !isObject(settings)) {
    const known = Object.keys(POST_PROCESSORS).join(", ");
    throw new Error(`the post-processor ${type} is not supported; supported are ${known}`);
  }
  return create(settings);
}

/** What `special_tokens` says of an id counts, whatever the vocabulary has. A template may have the text more than once. */
function template({ single, special_tokens: specialTokens }: Settings): PostProcess {
  const parts = (Array.isArray(single) ? single : []).map((item): readonly number[] | "text" => {
    if (isObject(item) && isObject(item.Sequence)) return "text";
    const name = isObject(item) && isObject(item.SpecialToken) ? item.SpecialToken.id : undefined;
    const token = isObject(specialTokens) && typeof name === "string" ? specialTokens[name] : undefined;
    const ids: unknown = isObject(token) ? token.ids : undefined;
    if (Array.isArray(ids) && ids.every((id) => Number.isSafeInteger(id))) return ids;
    throw new Error(`TemplateProcessing: expected a text or a special token with ids, found ${showJson(item)}`);
  });
  if (!parts.includes("text")) {
    throw new Error(`TemplateProcessing: the template of single texts has no text: ${showJson(single)}`);
  }
  return (ids) => parts.flatMap((part) => (part === "text" ? ids : part));
}

function around({ type, cls, sep }: Settings): PostProcess {
  const [first, last] = [cls, sep].map((token): unknown => (Array.isArray(token) ? token[1] : undefined));
  if (typeof first !== "number" || typeof last !== "number") {
    throw new Error(`${type}: expected cls and sep with their ids, found ${showJson(cls)} and ${showJson(sep)}`);
  }
  return (ids) => [first, ...ids, last];
}
