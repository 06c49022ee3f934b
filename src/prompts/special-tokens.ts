// Which tokens stand around a text: what the post-processor of tokenizer.json puts there, and what add_bos_token and
// add_eos_token in tokenizer_config.json say, where the two differ. Knows which engine goes by which.

import { isObject } from "../checkpoint/json-text.js";
import type { PostProcess } from "./post-processors.js";

type Config = Readonly<Record<string, unknown>>;

export interface SpecialTokens {
  /** The ids of a text with those that belong around it. */
  readonly around: PostProcess;
  /** Whose word counts, for the record. */
  readonly source: "tokenizer.json" | "tokenizer.json and tokenizer_config.json";
  /** What the reader should know where the two files differ. */
  readonly warning: string | undefined;
}

/** Stands for the text: no token has it. */
const TEXT = -1;

/**
 * Where the two differ, a token is there when one of them says so. transformers 4 and TGI's router go by the keys,
 * transformers 5 and with it vLLM by the post-processor; a token too many widens a range, one that is missing leaves out
 * what may be the largest K of all.
 */
export function specialTokensOf(
  config: Config,
  postProcess: PostProcess,
  idOf: (content: string) => number | undefined,
): SpecialTokens {
  const processed = postProcess([TEXT]);
  const at = processed.indexOf(TEXT);
  const sides = [
    { key: "add_bos_token", token: contentOf(config.bos_token), there: processed.slice(0, at) },
    { key: "add_eos_token", token: contentOf(config.eos_token), there: processed.slice(at + 1) },
  ];
  const added: (number | undefined)[] = [];
  const words: string[] = [];
  for (const { key, token, there } of sides) {
    const id = token === undefined ? undefined : idOf(token);
    const wants = config[key];
    const isThere = id !== undefined && there.includes(id);
    const differs = id !== undefined && typeof wants === "boolean" && wants !== isThere;
    added.push(differs && wants ? id : undefined);
    if (differs)
      words.push(
        `tokenizer_config.json has ${key}: ${wants}, and the post-processor of tokenizer.json ${isThere ? "adds" : "does not add"} ${token}`,
      );
  }
  const [bos, eos] = added;
  const isChanged = bos !== undefined || eos !== undefined;
  return {
    around: isChanged
      ? (ids) => [...(bos === undefined ? [] : [bos]), ...postProcess(ids), ...(eos === undefined ? [] : [eos])]
      : postProcess,
    source: isChanged ? "tokenizer.json and tokenizer_config.json" : "tokenizer.json",
    warning:
      words.length === 0
        ? undefined
        : `${words.join("; ")}. Texts were given the token: TGI and transformers 4 go by the key, vLLM and transformers 5 by the post-processor, and the first token can have the largest K. Make the two agree.`,
  };
}

/** bos_token and the like are texts, or objects with `content`. */
export function contentOf(token: unknown): string | undefined {
  const content = isObject(token) ? token.content : token;
  return typeof content === "string" && content !== "" ? content : undefined;
}
