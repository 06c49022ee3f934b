// The normalizers of tokenizer.json, as Python's tokenizers has them: text to text. Knows nothing of tokens; what it cannot
// do as Python does is refused by name.

import { isObject, showJson } from "../checkpoint/json-text.js";
import { toByteCharacters } from "./byte-characters.js";
import { createCharacterMap } from "./character-map.js";
import { compilePattern } from "./text-patterns.js";

export type Normalize = (text: string) => string;
type Settings = Readonly<Record<string, unknown>>;

const NORMALIZERS: Readonly<Record<string, (settings: Settings) => Normalize>> = {
  NFC: () => (text) => text.normalize("NFC"),
  NFD: () => (text) => text.normalize("NFD"),
  NFKC: () => (text) => text.normalize("NFKC"),
  NFKD: () => (text) => text.normalize("NFKD"),
  Lowercase: () => lowercase,
  StripAccents: () => (text) => text.replace(/\p{M}/gu, ""),
  Strip: ({ strip_left: left, strip_right: right }) => {
    const ends = [left === true ? "^\\p{White_Space}+" : "", right === true ? "\\p{White_Space}+$" : ""].filter(
      Boolean,
    );
    if (ends.length === 0) return (text) => text;
    const pattern = new RegExp(ends.join("|"), "gu");
    return (text) => text.replace(pattern, "");
  },
  Prepend:
    ({ prepend }) =>
    (text) =>
      text === "" ? text : `${prepend}${text}`,
  Replace: ({ pattern, content }) => {
    const compiled = compilePattern(pattern);
    // A function: in a text, "$&" and its like would stand for something.
    return (text) => text.replace(compiled, () => String(content ?? ""));
  },
  Precompiled: ({ precompiled_charsmap: map }) => createCharacterMap(String(map)),
  ByteLevel: () => toByteCharacters,
  Nmt: () => (text) => text.replace(NMT_REMOVED, "").replace(NMT_SPACES, " "),
  BertNormalizer: bertNormalizer,
  Sequence: ({ normalizers }) => {
    const steps = (Array.isArray(normalizers) ? normalizers : []).map(createNormalizer);
    return (text) => steps.reduce((normalized, step) => step(normalized), text);
  },
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is to find
const NMT_REMOVED = /[\u0001-\u0008\u000B\u000E-\u001F\u007F\u008F\u009F]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is to find
const NMT_SPACES = /[\u0009\u000A\u000C\u000D\u1680\u200B-\u200F\u2028\u2029\u2581\uFEFF\uFFFD]/g;

/** @throws Error naming what is not supported */
export function createNormalizer(settings: unknown): Normalize {
  if (settings === null || settings === undefined) return (text) => text;
  const type = isObject(settings) ? String(settings.type) : showJson(settings);
  const create = Object.hasOwn(NORMALIZERS, type) ? NORMALIZERS[type] : undefined;
  if (create === undefined || !isObject(settings)) {
    throw new Error(`the normalizer ${type} is not supported; supported are ${Object.keys(NORMALIZERS).join(", ")}`);
  }
  return create(settings);
}

/** Character by character: a text as a whole would get another sigma at the end of its words. */
function lowercase(text: string): string {
  return Array.from(text, (character) => character.toLowerCase()).join("");
}

function bertNormalizer({
  clean_text: cleans = true,
  handle_chinese_chars: spacesChinese = true,
  strip_accents: strips,
  lowercase: lowers = true,
}: Settings): Normalize {
  const stripsAccents = typeof strips === "boolean" ? strips : lowers === true;
  return (text) => {
    let normalized = text;
    if (cleans === true)
      normalized = normalized.replace(/[\0\uFFFD]|(?![\t\n\r])\p{C}/gu, "").replace(/\p{White_Space}/gu, " ");
    if (spacesChinese === true) normalized = normalized.replace(CHINESE, " $& ");
    if (stripsAccents) normalized = normalized.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lowers === true ? lowercase(normalized) : normalized;
  };
}

const CHINESE =
  /[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{F900}-\u{FAFF}\u{2F800}-\u{2FA1F}]/gu;
