// Which tokens stand around a text, by tokenizer.json and tokenizer_config.json, and which tokens the two have.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { type Json, temporaryFolder } from "../helpers/golden-checkpoints.js";

const BOS = { SpecialToken: { id: "<s>", type_id: 0 } };
const TEXT = { Sequence: { id: "A", type_id: 0 } };
const EOS = { SpecialToken: { id: "</s>", type_id: 0 } };
const specialTokens = {
  "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] },
  "</s>": { id: "</s>", ids: [1], tokens: ["</s>"] },
};
const template = (...single: object[]) => ({
  type: "TemplateProcessing",
  single,
  pair: [],
  special_tokens: specialTokens,
});
const NAMES = { bos_token: "<s>", eos_token: { content: "</s>" } };

async function open(postProcessor: object | null, config: Json, addedTokens: readonly object[] = []) {
  const folder = await temporaryFolder();
  const json = {
    ...{ version: "1.0", normalizer: null, decoder: null, post_processor: postProcessor, added_tokens: addedTokens },
    pre_tokenizer: { type: "WhitespaceSplit" },
    model: { type: "WordLevel", unk_token: "?", vocab: { "<s>": 0, "</s>": 1, a: 2, b: 3, "?": 4 } },
  };
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(json));
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));
  const tokenizer = await openTokenizer(folder);
  return { ...tokenizer, ids: (text: string) => tokenizer.tokenize(text, { source: "", text }) };
}

const BOTH = "tokenizer.json and tokenizer_config.json";
const ALONE = "tokenizer.json";

describe("a token is there when the post-processor or the key says so, and the record says whose word it was", () => {
  test.each<[string, object | null, Json, number[], string, RegExp | undefined]>([
    ["both say nothing", null, NAMES, [2], ALONE, undefined],
    ["the post-processor alone speaks", template(BOS, TEXT), NAMES, [0, 2], ALONE, undefined],
    ["both say yes", template(BOS, TEXT), { ...NAMES, add_bos_token: true }, [0, 2], ALONE, undefined],
    ["both say no", null, { ...NAMES, add_bos_token: false, add_eos_token: false }, [2], ALONE, undefined],
    [
      "the key says yes (DeepSeek)",
      null,
      { ...NAMES, add_bos_token: true },
      [0, 2],
      BOTH,
      /add_bos_token: true.*does not add <s>/,
    ],
    [
      "the key says no",
      template(BOS, TEXT),
      { ...NAMES, add_bos_token: false },
      [0, 2],
      ALONE,
      /add_bos_token: false.*adds <s>/,
    ],
    [
      "the key says yes for the end",
      template(BOS, TEXT),
      { ...NAMES, add_eos_token: true },
      [0, 2, 1],
      BOTH,
      /add_eos_token: true.*<\/s>/,
    ],
    [
      "the key says no for the end",
      template(TEXT, EOS),
      { ...NAMES, add_eos_token: false },
      [2, 1],
      ALONE,
      /adds <\/s>/,
    ],
    ["the key has no token to add", null, { add_bos_token: true, bos_token: null }, [2], ALONE, undefined],
  ])("%s", async (_rule, postProcessor, config, ids, source, warning) => {
    const tokenizer = await open(postProcessor, config);
    expect(tokenizer.ids("a")).toEqual(ids);
    expect(tokenizer.special.source).toBe(source);
    if (warning === undefined) expect(tokenizer.special.warning).toBeUndefined();
    else expect(tokenizer.special.warning).toMatch(warning);
  });
});

// As PreTrainedTokenizerFast adds them.
describe("tokens that tokenizer_config.json names and tokenizer.json lacks are found in a text", () => {
  test.each<[string, Json, string, number[]]>([
    ["with their id of the vocabulary", { bos_token: "<s>" }, "x<s>a", [4, 0, 2]],
    ["with the next id where they have none", { extra_special_tokens: ["<x>", "<y>"] }, "a<y>b<x>", [2, 6, 3, 5]],
    ["from the list of older files", { additional_special_tokens: ["<x>"] }, "a<x>", [2, 5]],
    ["from the named ones", { extra_special_tokens: { image_token: "<x>" } }, "a<x>", [2, 5]],
    [
      "with their flags",
      { added_tokens_decoder: { 5: { content: "<x>", lstrip: true, rstrip: true } } },
      "a <x> b",
      [2, 5, 3],
    ],
  ])("%s", async (_rule, config, text, ids) => {
    expect((await open(null, config)).ids(text)).toEqual(ids);
  });

  test("but those that tokenizer.json has stay as they are", async () => {
    const added = [{ id: 9, content: "<x>", special: true }];
    const tokenizer = await open(null, { extra_special_tokens: ["<x>", "<y>"] }, added);
    expect(tokenizer.ids("<x><y>")).toEqual([9, 10]);
    expect(tokenizer.decode([9, 2])).toBe("a");
  });
});
