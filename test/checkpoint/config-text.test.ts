import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { configTextWithoutScales, patchConfigText } from "../../src/checkpoint/config-text.js";
import { OUTPUT_FORMATS, type OutputFormatName } from "../../src/checkpoint/output-formats.js";

const keysOf = (format: OutputFormatName): Readonly<Record<string, unknown>> => {
  return OUTPUT_FORMATS[format].config("float8_e4m3fn");
};
const patch = (text: string, keys: Readonly<Record<string, unknown>>) => patchConfigText(text, JSON.parse(text), keys);

describe("everything but the new key stays as it was written", () => {
  const tgi = '"kv_cache_torch_dtype": "float8_e4m3fn"';

  test.each<[style: string, before: string, after: string]>([
    [
      "two spaces, as transformers writes",
      '{\n  "rms_norm_eps": 1e-05,\n  "rope_theta": 500000.0\n}\n',
      `{\n  "rms_norm_eps": 1e-05,\n  "rope_theta": 500000.0,\n  ${tgi}\n}\n`,
    ],
    ["no newline at the end", '{\n  "a": 1\n}', `{\n  "a": 1,\n  ${tgi}\n}`],
    [
      "four spaces",
      '{\n    "a": {\n        "b": 1.0\n    }\n}',
      `{\n    "a": {\n        "b": 1.0\n    },\n    ${tgi}\n}`,
    ],
    ["tabs", '{\n\t"a": [\n\t\t1E+2\n\t]\n}\n', `{\n\t"a": [\n\t\t1E+2\n\t],\n\t${tgi}\n}\n`],
    ["Windows line ends", '{\r\n  "a": 1\r\n}\r\n', `{\r\n  "a": 1,\r\n  ${tgi}\r\n}\r\n`],
    ["minified", '{"b":1e-05,"a":[1,2],"c":{"d":null}}', `{"b":1e-05,"a":[1,2],"c":{"d":null},${tgi}}`],
    ["on one line", '{ "b": 1, "a": 2 }\n', `{ "b": 1, "a": 2,${tgi} }\n`],
    ["lists on one line", '{\n  "a": [1, 2,\n 3]\n}', `{\n  "a": [1, 2,\n 3],\n  ${tgi}\n}`],
    ["untidy", '\n{\n "z" :1 ,\n\n "a":\t2\n   }', `\n{\n "z" :1 ,\n\n "a":\t2,\n ${tgi}\n   }`],
    ["empty", "{}", `{${tgi}}`],
    ["empty, on two lines", "{\n}\n", `{${tgi}\n}\n`],
    [
      "unicode, escaped or not",
      '{\n  "名": "é\\u00e9\\/\\ud83d\\ude00😀",\n  "id": 12345678901234567890\n}',
      `{\n  "名": "é\\u00e9\\/\\ud83d\\ude00😀",\n  "id": 12345678901234567890,\n  ${tgi}\n}`,
    ],
  ])("%s", (_style, before, after) => {
    expect(patch(before, keysOf("tgi"))).toBe(after);
    expect(JSON.parse(after)).toEqual({ ...JSON.parse(before), kv_cache_torch_dtype: "float8_e4m3fn" });
    // What a second run in the same folder finds leads to the same record as the first.
    const withoutKeys = patch(after, {});
    for (const format of formatNames) expect(patch(patch(withoutKeys, keysOf(format)), {})).toBe(withoutKeys);
  });

  test("a block gets the indentation around it", () => {
    expect(patch('{\n    "a": 1\n}\n', keysOf("vllm"))).toBe(`{
    "a": 1,
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "quantization_status": "frozen",
        "format": "dense",
        "config_groups": {},
        "ignore": [
            "Linear"
        ],
        "kv_cache_scheme": {
            "num_bits": 8,
            "type": "float",
            "strategy": "tensor",
            "dynamic": false,
            "symmetric": true
        }
    }
}
`);
  });
});

const formatNames = Object.keys(OUTPUT_FORMATS) as OutputFormatName[];

const configs = fc
  .dictionary(
    fc.string({ unit: "grapheme" }).filter((key) => !(key in { quantization_config: 0, kv_cache_torch_dtype: 0 })),
    fc.jsonValue({ maxDepth: 2 }),
    { noNullPrototype: true },
  )
  .chain((config) => fc.constantFrom(undefined, 2, 4, "\t").map((indent) => JSON.stringify(config, null, indent)));

test("any config gets exactly the keys of its format, and any format takes those of another away", () => {
  fc.assert(
    fc.property(configs, fc.constantFrom(...formatNames), fc.constantFrom(...formatNames), (text, first, second) => {
      const once = patch(text, keysOf(first));
      expect(JSON.parse(once)).toEqual({ ...JSON.parse(text), ...keysOf(first) });
      const twice = patch(once, keysOf(second));
      expect(JSON.parse(twice)).toEqual({ ...JSON.parse(text), ...keysOf(second) });
      expect(patch(twice, keysOf(second))).toBe(twice);
    }),
    { numRuns: 200 },
  );
});

test("taking the keys away gives the first text back", () => {
  fc.assert(
    fc.property(
      configs.filter((text) => text !== "{}"),
      fc.constantFrom(...formatNames),
      (text, format) => {
        expect(patch(patch(text, keysOf(format)), {})).toBe(text);
      },
    ),
    { numRuns: 200 },
  );
});

test("a key that is there already is changed where it stands", () => {
  const before = '{\n  "kv_cache_torch_dtype": "float8_e4m3fn",\n  "z": 1.0\n}';
  const after = '{\n  "kv_cache_torch_dtype": "float8_e4m3fnuz",\n  "z": 1.0\n}';
  expect(patch(before, OUTPUT_FORMATS.tgi.config("float8_e4m3fnuz"))).toBe(after);
});

test("a key deeper down that is called the same stays", () => {
  const nested = { kv_cache_torch_dtype: "auto", quantization_config: keysOf("vllm").quantization_config };
  const text = JSON.stringify({ text_config: nested });
  expect(JSON.parse(patch(text, {}))).toEqual({ text_config: nested });
  expect(JSON.parse(patch(text, keysOf("vllm")))).toEqual({ text_config: nested, ...keysOf("vllm") });
});

describe("a quantization_config of someone else", () => {
  const own = keysOf("vllm").quantization_config as Record<string, unknown>;

  const scheme = own.kv_cache_scheme;
  const modelOpt = { dynamic: false, num_bits: 8, type: "float" };
  const compressed = { quant_method: "compressed-tensors", config_groups: { group_0: {} } };

  test.each<[name: string, block: unknown]>([
    ["GPTQ", { quant_method: "gptq", bits: 4 }],
    ["FP8 weights of compressed-tensors", { ...compressed, kv_cache_scheme: null }],
    ["a cache of another kind", { ...compressed, kv_cache_scheme: { ...modelOpt, num_bits: 4 } }],
    ["without a method", {}],
    ["that is no object", "fp8"],
  ])("%s stays", (_name, block) => {
    const text = JSON.stringify({ a: 1, quantization_config: block });
    for (const format of ["tgi", "tgi-separate"] as const) {
      expect(JSON.parse(patch(text, keysOf(format)))).toEqual({ ...JSON.parse(text), ...keysOf(format) });
    }
  });

  test.each([
    ["compressed-tensors", scheme],
    ["ModelOpt", modelOpt],
  ])("gets a scheme of the cache in the style of its surroundings, and gives it back: %s", (_, value) => {
    const before = '{\n  "quantization_config": {\n    "bits": 8\n  },\n  "z": 1.0\n}\n';
    const patched = patch(before, { "quantization_config.kv_cache_scheme": value });
    expect(JSON.parse(patched)).toEqual({ quantization_config: { bits: 8, kv_cache_scheme: value }, z: 1 });
    expect(patched).toMatch(/^ {2}"quantization_config": \{\n {4}"bits": 8,\n {4}"kv_cache_scheme": \{\n {6}"/m);
    expect(patch(patched, {})).toBe(before);
    expect(patch(patched, { "quantization_config.kv_cache_scheme": value })).toBe(patched);
  });

  test.each([
    ["minified", '{"text_config":{"quantization_config":{"bits":8}},"z":1}'],
    ["an empty block", '{\n  "text_config": {\n    "quantization_config": {}\n  }\n}'],
    ["a block of two keys on a line", '{ "text_config": {"quantization_config": {\r\n\t"a": 1, "b": 2} } }'],
  ])("in the text part of a multimodal model, too: %s", (_, before) => {
    const patched = patch(before, { "text_config.quantization_config.kv_cache_scheme": scheme });
    const block = JSON.parse(before).text_config.quantization_config;
    expect(JSON.parse(patched).text_config.quantization_config).toEqual({ ...block, kv_cache_scheme: scheme });
    expect(JSON.parse(patch(patched, {}))).toEqual(JSON.parse(before));
  });

  test("a null where the scheme goes counts as none: the text without scales is the same before and after", () => {
    const before = '{"quantization_config":{"bits":8,"kv_cache_scheme":null,"z":1}}';
    const after = patch(before, { "quantization_config.kv_cache_scheme": scheme });
    expect(JSON.parse(after).quantization_config).toEqual({ bits: 8, kv_cache_scheme: scheme, z: 1 });
    const bare = '{"quantization_config":{"bits":8,"z":1}}';
    for (const text of [before, after, bare]) expect(configTextWithoutScales(text, JSON.parse(text))).toBe(bare);
  });

  test("null is none: it stays until a format needs the key", () => {
    const text = '{"quantization_config":null}';
    expect(JSON.parse(patch(text, keysOf("tgi")))).toEqual({ quantization_config: null, ...keysOf("tgi") });
    expect(JSON.parse(patch(text, keysOf("vllm")))).toEqual(keysOf("vllm"));
  });

  test("our own is known in any order of its keys", () => {
    const shuffled = Object.fromEntries(Object.entries(own).reverse());
    expect(JSON.parse(patch(JSON.stringify({ quantization_config: shuffled }), keysOf("tgi")))).toEqual(keysOf("tgi"));
  });
});
