// The decoders of tokenizer.json, as Python's tokenizers has them: tokens to text. Knows nothing of ids; what is not
// supported is refused by name.

import { isObject, showJson } from "../checkpoint/json-text.js";
import { fromByteCharacters } from "./byte-characters.js";
import { compilePattern } from "./text-patterns.js";

/** From tokens to tokens: what a text consists of is joined at the end. */
type DecodeStep = (tokens: readonly string[]) => readonly string[];
type Settings = Readonly<Record<string, unknown>>;

const DECODERS: Readonly<Record<string, (settings: Settings) => DecodeStep>> = {
  ByteLevel: () => (tokens) => [Buffer.concat(tokens.map(bytesOfToken)).toString("utf8")],
  ByteFallback: () => byteFallback,
  Fuse: () => (tokens) => [tokens.join("")],
  Metaspace: metaspace,
  Strip: strip,
  WordPiece: wordPiece,
  BPEDecoder: ({ suffix = "</w>" }) => {
    return (tokens) =>
      tokens.map((token, index) => token.replaceAll(String(suffix), index === tokens.length - 1 ? "" : " "));
  },
  Replace: ({ pattern, content }) => {
    const compiled = compilePattern(pattern);
    return (tokens) => tokens.map((token) => token.replace(compiled, () => String(content ?? "")));
  },
  Sequence: ({ decoders }) => {
    const steps = (Array.isArray(decoders) ? decoders : []).map(createStep);
    return (tokens) => steps.reduce((decoded, step) => step(decoded), tokens);
  },
};

/** The text of tokens; without a decoder, they stand apart. @throws Error naming what is not supported */
export function createDecoder(settings: unknown): (tokens: readonly string[]) => string {
  if (settings === null || settings === undefined) return (tokens) => tokens.join(" ");
  const step = createStep(settings);
  return (tokens) => step(tokens).join("");
}

function createStep(settings: unknown): DecodeStep {
  const type = isObject(settings) ? String(settings.type) : showJson(settings);
  const create = Object.hasOwn(DECODERS, type) ? DECODERS[type] : undefined;
  if (create === undefined || !isObject(settings)) {
    throw new Error(`the decoder ${type} is not supported; supported are ${Object.keys(DECODERS).join(", ")}`);
  }
  return create(settings);
}

/** Of a token that is not written in byte characters, the bytes of its text. */
function bytesOfToken(token: string): Buffer {
  return fromByteCharacters(token) ?? Buffer.from(token, "utf8");
}

const BYTE = /^<0x([0-9A-Fa-f]{2})>$/;

/** Bytes that are no text are a mark each. */
function byteFallback(tokens: readonly string[]): string[] {
  const decoded: string[] = [];
  let bytes: number[] = [];
  const takeBytes = () => {
    if (bytes.length === 0) return;
    const text = textOf(Uint8Array.from(bytes));
    if (text === undefined) decoded.push(...bytes.map(() => "\uFFFD"));
    else decoded.push(text);
    bytes = [];
  };
  for (const token of tokens) {
    const hexadecimal = BYTE.exec(token)?.[1];
    if (hexadecimal !== undefined) {
      bytes.push(Number.parseInt(hexadecimal, 16));
      continue;
    }
    takeBytes();
    decoded.push(token);
  }
  takeBytes();
  return decoded;
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function metaspace({ replacement = "▁", prepend_scheme: scheme = "always" }: Settings): DecodeStep {
  const mark = String(replacement);
  return (tokens) => tokens.map((token, index) => token.replaceAll(mark, index === 0 && scheme !== "never" ? "" : " "));
}

function strip({ content, start = 0, stop = 0 }: Settings): DecodeStep {
  return (tokens) =>
    tokens.map((token) => {
      const characters = Array.from(token);
      let [first, last] = [0, characters.length];
      while (first < Number(start) && characters[first] === content) first++;
      while (characters.length - last < Number(stop) && last > first && characters[last - 1] === content) last--;
      return characters.slice(first, last).join("");
    });
}

const CLEANED: readonly (readonly [string, string])[] = [
  ...([
    [" .", "."],
    [" ?", "?"],
    [" !", "!"],
    [" ,", ","],
    [" ' ", "'"],
    [" n't", "n't"],
    [" 'm", "'m"],
  ] as const),
  ...([
    [" do not", " don't"],
    [" 's", "'s"],
    [" 've", "'ve"],
    [" 're", "'re"],
  ] as const),
];

function wordPiece({ prefix = "##", cleanup = true }: Settings): DecodeStep {
  return (tokens) =>
    tokens.map((token, index) => {
      const begins = token.startsWith(String(prefix));
      const joined = index === 0 ? token : begins ? token.slice(String(prefix).length) : ` ${token}`;
      if (cleanup !== true) return joined;
      return CLEANED.reduce((text, [from, to]) => text.replaceAll(from, to), joined);
    });
}
