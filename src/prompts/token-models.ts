// Ids of pieces by the model of tokenizer.json, as Python's tokenizers gives them: merging and searching are the library's,
// what becomes of the unknown is here. What the library cannot do is refused by name.

import { isObject, showJson } from "../checkpoint/json-text.js";
import { openLibrary, type TokenizerLibrary } from "./tokenizer-library.js";

export interface TokenModel {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Ids of one piece. @throws Error when a token is unknown and the model has none for that */
  encode(piece: string): number[];
}

type Settings = Readonly<Record<string, unknown>>;

const MODELS: Readonly<Record<string, (settings: Settings) => TokenModel>> = {
  BPE: bytePairs,
  Unigram: unigram,
  WordPiece: wordPiece,
  WordLevel: wordLevel,
};

/** @throws Error naming what is not supported */
export function createTokenModel(settings: unknown): TokenModel {
  if (!isObject(settings)) throw new Error(`expected a model, found ${showJson(settings)}`);
  const type = typeof settings.type === "string" ? settings.type : typeOf(settings);
  const create = Object.hasOwn(MODELS, type) ? MODELS[type] : undefined;
  if (create !== undefined) return create({ ...settings, type });
  throw new Error(`the model ${type} is not supported; supported are ${Object.keys(MODELS).join(", ")}`);
}

/** Of an old file, which does not say it. */
function typeOf(settings: Settings): string {
  if (Array.isArray(settings.merges)) return "BPE";
  if (Array.isArray(settings.vocab)) return "Unigram";
  return "max_input_chars_per_word" in settings || "continuing_subword_prefix" in settings ? "WordPiece" : "WordLevel";
}

function bytePairs(settings: Settings): TokenModel {
  const { merges, dropout, continuing_subword_prefix: prefix, unk_token: unknown, fuse_unk: fuses } = settings;
  if (dropout !== null && dropout !== undefined && dropout !== 0) {
    throw new Error(`BPE with dropout ${showJson(dropout)} gives other tokens each time: set it to null`);
  }
  if (typeof prefix === "string" && prefix !== "") {
    throw new Error(`BPE with continuing_subword_prefix ${showJson(prefix)} is not supported`);
  }
  const odd = (Array.isArray(merges) ? merges : []).find(
    (merge) => typeof merge === "string" && merge.split(" ").length !== 2,
  );
  if (odd !== undefined) throw new Error(`merges: expected two tokens with a space between, found ${showJson(odd)}`);
  const vocabulary = vocabularyOf(settings);
  const unknownId = typeof unknown === "string" ? vocabulary.get(unknown) : undefined;
  const model = modelOf({ ...settings, fuse_unk: false });
  return {
    vocabulary,
    encode(piece) {
      const ids: number[] = [];
      let wasUnknown = false;
      for (const token of model.encode([piece])) {
        const id = vocabulary.get(token);
        if (id === undefined) throw new Error(`unk_token ${showJson(token)} is not in the vocabulary`);
        const isUnknown = id === unknownId && !piece.includes(token);
        if (!(fuses === true && isUnknown && wasUnknown)) ids.push(id);
        wasUnknown = isUnknown;
      }
      return ids;
    },
  };
}

function unigram(settings: Settings): TokenModel {
  const { vocab, unk_id: unknownId, byte_fallback: fallsBack } = settings;
  const entries: readonly unknown[] = Array.isArray(vocab) ? vocab : [];
  const vocabulary = new Map<string, number>();
  for (const [id, entry] of entries.entries()) {
    if (Array.isArray(entry) && typeof entry[0] === "string") vocabulary.set(entry[0], id);
  }
  const model = modelOf(settings);
  return {
    vocabulary,
    encode(piece) {
      const ids: number[] = [];
      let unknown = "";
      const takeUnknown = () => {
        if (unknown === "") return;
        const bytes = fallsBack === true ? bytesOf(unknown, vocabulary) : undefined;
        if (bytes !== undefined) for (const id of bytes) ids.push(id);
        else if (typeof unknownId === "number") ids.push(unknownId);
        else throw new Error(`${showJson(unknown)} is unknown, and the model has no unk_id`);
        unknown = "";
      };
      for (const token of model.encode([piece])) {
        const id = vocabulary.get(token);
        if (id === undefined || id === unknownId) {
          unknown += token;
          continue;
        }
        takeUnknown();
        ids.push(id);
      }
      takeUnknown();
      return ids;
    },
  };
}

/** The tokens of the bytes of a text; undefined when one has none. */
function bytesOf(text: string, vocabulary: ReadonlyMap<string, number>): number[] | undefined {
  const ids: number[] = [];
  for (const byte of Buffer.from(text, "utf8")) {
    const id = vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}

function wordPiece(settings: Settings): TokenModel {
  const vocabulary = vocabularyOf(settings);
  const model = modelOf({ continuing_subword_prefix: "##", unk_token: "[UNK]", ...settings });
  return {
    vocabulary,
    encode: (piece) =>
      model.encode([piece]).map((token) => {
        const id = vocabulary.get(token);
        if (id === undefined) throw new Error(`unk_token ${showJson(token)} is not in the vocabulary`);
        return id;
      }),
  };
}

function wordLevel(settings: Settings): TokenModel {
  const vocabulary = vocabularyOf(settings);
  const unknown = typeof settings.unk_token === "string" ? settings.unk_token : "<unk>";
  return {
    vocabulary,
    encode(piece) {
      const id = vocabulary.get(piece) ?? vocabulary.get(unknown);
      if (id === undefined) throw new Error(`unk_token ${showJson(unknown)} is not in the vocabulary`);
      return [id];
    },
  };
}

function vocabularyOf({ vocab }: Settings): Map<string, number> {
  if (!isObject(vocab)) throw new Error(`expected a vocabulary of tokens and ids, found ${showJson(vocab)}`);
  const vocabulary = new Map<string, number>();
  for (const [token, id] of Object.entries(vocab)) {
    if (typeof id !== "number") throw new Error(`vocab: expected an id for ${showJson(token)}, found ${showJson(id)}`);
    vocabulary.set(token, id);
  }
  return vocabulary;
}

function modelOf(settings: Settings): TokenizerLibrary["model"] {
  return openLibrary({ model: settings }).model;
}
