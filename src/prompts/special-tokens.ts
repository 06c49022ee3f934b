// The special tokens around a text, by the post-processor of tokenizer.json and by add_bos_token and add_eos_token in
// tokenizer_config.json, which may differ. Knows which engine obeys which.

import { isObject } from "../checkpoint/json-text.js";
import type { PostProcess } from "./post-processors.js";

type Config = Readonly<Record<string, unknown>>;

export interface SpecialTokens {
  /** The ids of a text with the special tokens around it. */
  readonly around: PostProcess;
  /** Which of the two decided, for the record. */
  readonly source: "tokenizer.json" | "tokenizer.json and tokenizer_config.json";
  /** The warning if the two files differ. */
  readonly warning: string | undefined;
}

/** Placeholder for the text: no token has this id. */
const TEXT = -1;

/**
 * Where the two differ, a token is added if either says so. transformers 4 and TGI's router obey the keys; transformers
 * 5, and so vLLM, obeys the post-processor. An extra token can only widen a range; a missing one may leave out the
 * largest K of all.
 */
export function specialTokensOf(
  config: Config,
  postProcess: PostProcess,
  idOf: (content: string) => number | undefined,
): SpecialTokens {
  const processed = postProcess([TEXT]);
  const sides = [
    { key: "add_bos_token", token: contentOf(config.bos_token), there: processed.slice(0, processed.indexOf(TEXT)) },
    {
      key: "add_eos_token",
      token: contentOf(config.eos_token),
      there: processed.slice(processed.lastIndexOf(TEXT) + 1),
    },
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
