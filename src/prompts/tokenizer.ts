// Turns prompts into token ids with the checkpoint's tokenizer.json. Knows nothing of batches, and sets no limit to what
// the checkpoint's patterns and templates do: the process that this runs in has one.

import { join } from "node:path";
import { isObject, parseJsonObject, parsePythonJsonObject, showJson } from "../checkpoint/json-text.js";
import { readOptionalTextFile, readTextFile } from "../checkpoint/text-files.js";
import { CheckpointError, messageOf } from "../errors.js";
import { type AddedToken, createTokenFinder } from "./added-tokens.js";
import { findChatTemplates, parseChatTemplates, renderTranscript } from "./chat-template.js";
import { createDecoder } from "./decoders.js";
import { refuseFalseLengths } from "./false-lengths.js";
import { createNormalizer } from "./normalizers.js";
import { createPostProcessor } from "./post-processors.js";
import { createPreTokenizer } from "./pre-tokenizers.js";
import type { Prompt } from "./prompt-rows.js";
import { contentOf, type SpecialTokens, specialTokensOf } from "./special-tokens.js";
import { createTokenModel } from "./token-models.js";

/** Its functions run what the checkpoint's files say, and take as long as those like. */
export interface PromptTokenizer {
  /**
   * The text of a prompt as the model sees it.
   * @param opensAnswer whether the assistant's turn begins after messages, so that what follows is an answer
   * @throws PromptDataError when the template refuses the messages
   */
  render(prompt: Prompt, opensAnswer?: boolean): string;
  /** Token ids of the text of a prompt, with the special tokens that belong to it. @throws CheckpointError */
  tokenize(text: string, prompt: Prompt): number[];
  /** The text of ids that a model has generated, without special tokens. @throws CheckpointError */
  decode(ids: readonly number[]): string;
  /** The file of the chat template; undefined when there is none. */
  readonly templatePath: string | undefined;
  /** Which tokens stand around a text, and by whose word. */
  readonly special: Pick<SpecialTokens, "source" | "warning">;
  /** The text of tokenizer.json, for its hash. */
  readonly json: string;
}

/**
 * Opens the tokenizer of a checkpoint.
 * @param onStep is told which file is looked at next, and waited for
 * @throws CheckpointError when tokenizer.json is absent or not understood
 */
export async function openTokenizer(
  folder: string,
  onStep: (path: string, doing: string) => Promise<void> | void = () => {},
): Promise<PromptTokenizer> {
  const path = join(folder, "tokenizer.json");
  const json = await readTextFile(path);
  const configPath = join(folder, "tokenizer_config.json");
  const configText = await readOptionalTextFile(configPath);
  const config = configText === undefined ? {} : parsePythonJsonObject(configPath, configText);
  await onStep(path, "loading the tokenizer");
  const tokenizerJson = parseJsonObject(path, json);
  refuseFalseLengths(path, tokenizerJson);
  refuseFalseLengths(configPath, config);
  const tokenizer = createTokenizer(path, tokenizerJson, config);
  const templates = await findChatTemplates(folder, config);
  const [template] = templates.has("default") ? [templates.get("default")] : templates.values();
  if (template !== undefined) await onStep(template.path, "parsing the chat template");
  const renderChat = template === undefined ? undefined : parseChatTemplates(templates, config);
  return {
    json,
    special: tokenizer.special,
    templatePath: template?.path,
    render: (prompt, opensAnswer) =>
      "messages" in prompt ? (renderChat ?? renderTranscript)(prompt, prompt.source, opensAnswer) : prompt.text,
    // A template writes the special tokens itself: adding them again would double the first.
    tokenize: (text, prompt) =>
      tokenize(path, tokenizer, text, prompt.source, !("messages" in prompt) || renderChat === undefined),
    decode: (ids) => decode(path, tokenizer, ids),
  };
}

interface TextTokenizer {
  readonly special: SpecialTokens;
  encode(text: string, addSpecialTokens: boolean): readonly number[];
  decode(ids: readonly number[]): string;
}

function createTokenizer(path: string, json: Record<string, unknown>, config: Record<string, unknown>): TextTokenizer {
  try {
    const normalize = createNormalizer(json.normalizer);
    const preTokenize = createPreTokenizer(json.pre_tokenizer);
    const model = createTokenModel(json.model);
    const tokens = addedTokensOf(json, config, model.vocabulary);
    const find = createTokenFinder(tokens, normalize);
    const ids = new Map([...model.vocabulary, ...tokens.map(({ content, id }) => [content, id] as const)]);
    const contents = new Map(Array.from(model.vocabulary, ([content, id]) => [id, content]));
    // What stands in the text for a token that is looked for in the normalized text, is normalized, too.
    for (const { id, content, normalized } of tokens) contents.set(id, normalized ? normalize(content) : content);
    const special = specialTokensOf(config, createPostProcessor(json.post_processor), (content) => ids.get(content));
    const encodePiece = remembering((piece) => model.encode(piece));
    const encodeText = (text: string) => {
      const encoded: number[] = [];
      for (const section of find(text)) {
        if ("id" in section) encoded.push(section.id);
        else for (const piece of preTokenize(section)) for (const id of encodePiece(piece.text)) encoded.push(id);
      }
      return encoded;
    };
    return {
      special,
      encode: (text, addSpecialTokens) => (addSpecialTokens ? special.around(encodeText(text)) : encodeText(text)),
      decode: decodeWith(createDecoder(json.decoder), contents, tokens),
    };
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer is damaged or not supported: ${messageOf(cause)}`, { cause });
  }
}

/** Words come again and again. Longer pieces than these seldom do. */
const [REMEMBERED_PIECES, REMEMBERED_CHARACTERS] = [50_000, 64];

function remembering(encode: (piece: string) => readonly number[]): (piece: string) => readonly number[] {
  const known = new Map<string, readonly number[]>();
  return (piece) => {
    const found = known.get(piece);
    if (found !== undefined) return found;
    const ids = encode(piece);
    if (known.size < REMEMBERED_PIECES && piece.length <= REMEMBERED_CHARACTERS) known.set(piece, ids);
    return ids;
  };
}

/** The text of ids, without special tokens; an id that no token has is nothing. */
function decodeWith(
  decoder: (tokens: readonly string[]) => string,
  contents: ReadonlyMap<number, string>,
  addedTokens: readonly AddedToken[],
): (ids: readonly number[]) => string {
  const special = new Set(addedTokens.flatMap((token) => (token.special ? [token.id] : [])));
  return (ids) => decoder(ids.flatMap((id) => (special.has(id) ? [] : (contents.get(id) ?? []))));
}

function tokenize(
  path: string,
  tokenizer: TextTokenizer,
  text: string,
  source: string,
  addSpecialTokens: boolean,
): number[] {
  try {
    const ids = [...tokenizer.encode(text, addSpecialTokens)];
    // A negative id would count from the end of the embedding.
    if (!ids.every((id) => Number.isSafeInteger(id) && id >= 0)) throw new Error("a token has no id, or a wrong one");
    return ids;
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer fails on ${source}: ${messageOf(cause)}`, { cause });
  }
}

function decode(path: string, tokenizer: TextTokenizer, ids: readonly number[]): string {
  if (ids.length === 0) return "";
  try {
    // Spaces stay where the model put them: cleaning up is for word pieces.
    return tokenizer.decode(ids);
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer fails on generated tokens: ${messageOf(cause)}`, { cause });
  }
}

const NAMED_TOKENS = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/**
 * The added tokens of tokenizer.json, and those of tokenizer_config.json that it lacks: transformers adds them, with the id
 * of the model's vocabulary, else the next one.
 */
function addedTokensOf(
  { added_tokens: listed = [] }: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
  vocabulary: ReadonlyMap<string, number>,
): AddedToken[] {
  const tokens: AddedToken[] = [];
  const contents = new Set<string>();
  const add = (token: unknown, isSpecial: boolean, id?: number) => {
    const content = contentOf(token);
    if (content === undefined || contents.has(content)) return;
    const flags = isObject(token) ? token : {};
    const special = isSpecial || flags.special === true;
    const largest = tokens.reduce((most, { id: other }) => Math.max(most, other), vocabulary.size - 1);
    contents.add(content);
    tokens.push({
      id: id ?? vocabulary.get(content) ?? largest + 1,
      ...{ content, special, normalized: typeof flags.normalized === "boolean" ? flags.normalized : !special },
      ...{ lstrip: flags.lstrip === true, rstrip: flags.rstrip === true, single_word: flags.single_word === true },
    });
  };
  if (!Array.isArray(listed)) throw new Error(`added_tokens: expected a list, found ${showJson(listed)}`);
  for (const token of listed) {
    if (!isObject(token) || typeof token.content !== "string" || typeof token.id !== "number") {
      throw new Error(`added_tokens: expected tokens with id and content, found ${showJson(token)}`);
    }
    add(token, false, token.id);
  }
  const { added_tokens_decoder: decoder, additional_special_tokens: more, extra_special_tokens: extra } = config;
  for (const token of isObject(decoder) ? Object.values(decoder) : []) add(token, false);
  for (const key of NAMED_TOKENS) add(config[key], true);
  for (const list of [more, extra]) {
    if (typeof list !== "object" || list === null) continue;
    for (const token of Object.values(list)) add(token, true);
  }
  return tokens;
}
