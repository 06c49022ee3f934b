// Chat templates and tokenizers that were made to do harm: each a small file that would take for ever or all the memory.

type Json = Readonly<Record<string, unknown>>;

export interface HostileTemplate {
  readonly name: string;
  readonly template: string;
  readonly says: RegExp;
}

export interface HostileTokenizer {
  readonly name: string;
  /** What it has instead, of tokenizer.json. */
  readonly change: Json;
  readonly says: RegExp;
}

const TOO_SLOW = /took longer than the limit of/;
const TOO_LARGE = /needed more memory than the limit of/;
/** Which of its limits a growing thing meets first depends on the machine. */
const EITHER = new RegExp(`${TOO_SLOW.source}|${TOO_LARGE.source}|too long|Invalid (string|array) length|call stack`);
const TOO_DEEP = /it nests too deeply/;

const repeat = (text: string, times: number) => text.repeat(times);

export const HOSTILE_TEMPLATES: readonly HostileTemplate[] = [
  {
    name: "loops within loops",
    template:
      "{% for i in range(100000) %}{% for j in range(100000) %}{% for k in range(100000) %}{% endfor %}{% endfor %}{% endfor %}",
    says: TOO_SLOW,
  },
  { name: "a range of 10⁹ numbers", template: "{% for i in range(1000000000) %}{% endfor %}", says: /Range too big/ },
  {
    name: "a text that doubles",
    template: `{% set ns = namespace(s="ab") %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`,
    says: EITHER,
  },
  {
    name: "a list that doubles",
    template: `{% set ns = namespace(s=["ab"]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`,
    says: EITHER,
  },
  {
    name: "a text that goes round and round",
    template: `{% set ns = namespace(s="ab") %}{% for i in range(27) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`,
    says: /has \d+ characters, more than the limit of|took longer|more memory/,
  },
  { name: "a macro that calls itself", template: "{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}", says: TOO_DEEP },
  {
    name: "blocks nested 10⁵ deep",
    template: repeat("{% if true %}", 1e5) + repeat("{% endif %}", 1e5),
    says: TOO_DEEP,
  },
  { name: "brackets nested 10⁵ deep", template: `{{ ${repeat("(", 1e5)}1${repeat(")", 1e5)} }}`, says: TOO_DEEP },
  { name: "lists nested 10⁵ deep", template: `{{ ${repeat("[", 1e5)}${repeat("]", 1e5)} }}`, says: TOO_DEEP },
];

const ofRegex = (Regex: string): Json => ({ pattern: { Regex } });
const doubling: Json = { type: "Replace", pattern: { String: "a" }, content: "aa" };
const sequenceOf = (normalizers: readonly Json[]): Json => ({ type: "Sequence", normalizers });

export const HOSTILE_TOKENIZERS: readonly HostileTokenizer[] = [
  {
    name: "a Split whose pattern goes back and back",
    change: { pre_tokenizer: { type: "Split", ...ofRegex("(a+)+$"), behavior: "Isolated", invert: false } },
    says: TOO_SLOW,
  },
  {
    name: "such a pattern within a Sequence",
    change: {
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [{ type: "Split", ...ofRegex("(a|a)*b"), behavior: "Isolated", invert: false }],
      },
    },
    says: TOO_SLOW,
  },
  {
    name: "a normalizer whose pattern goes back and back",
    change: { normalizer: { type: "Replace", ...ofRegex("(a*)*b"), content: "" } },
    says: TOO_SLOW,
  },
  {
    name: "normalizers that double the text",
    change: { normalizer: sequenceOf(Array.from({ length: 60 }, () => doubling)) },
    says: EITHER,
  },
  {
    name: "normalizers that put a long text in front",
    change: {
      normalizer: sequenceOf(
        Array.from({ length: 400 }, () => ({ type: "Replace", ...ofRegex("^"), content: repeat("a", 1e5) })),
      ),
    },
    says: EITHER,
  },
  {
    name: "a post-processor that multiplies",
    change: {
      post_processor: {
        type: "TemplateProcessing",
        single: Array.from({ length: 200_000 }, () => ({ Sequence: { id: "A", type_id: 0 } })),
        pair: [],
        special_tokens: {},
      },
    },
    says: EITHER,
  },
  {
    name: "a pre-tokenizer with 10⁵ steps",
    change: {
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: Array.from({ length: 1e5 }, () => ({
          type: "Split",
          ...ofRegex("[^x]"),
          behavior: "Isolated",
          invert: false,
        })),
      },
    },
    says: EITHER,
  },
];

/** For `decode`. */
export const HOSTILE_DECODER: HostileTokenizer = {
  name: "a decoder whose pattern goes back and back",
  change: {
    decoder: {
      type: "Sequence",
      decoders: [{ type: "ByteLevel" }, { type: "Fuse" }, { type: "Replace", ...ofRegex("(a+)+$"), content: "" }],
    },
  },
  says: TOO_SLOW,
};
