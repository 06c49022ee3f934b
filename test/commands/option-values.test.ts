// What may stand behind an option: every legal form, and what is refused before any work.

import { describe, expect, test } from "vitest";
import {
  parseExceedance,
  parseHeadroom,
  parseIncrease,
  parseNats,
  parsePositiveInteger,
  parseSamples,
  parseShare,
  parseWindow,
} from "../../src/commands/option-values.js";

const ODD = ["", " ", "-1", "0x10", "Infinity", "NaN", "1,5", "1 2", "one", "1e999", "--json"];

describe.each<[string, (text: string) => number | "auto", [text: string, value: number][], string[]]>([
  [
    "a share",
    parseShare,
    [
      ["0", 0],
      ["0.9", 0.9],
      ["90%", 0.9],
      ["97.5 %", 0.975],
      ["100%", 1],
      [".5", 0.5],
    ],
    ["150%", "100.01%", "1.5", "95", "-5%", "%", "5%%"],
  ],
  [
    "an increase",
    parseIncrease,
    [
      ["0", 0],
      ["1%", 0.01],
      ["0.01", 0.01],
      ["150%", 1.5],
      ["1e-3", 0.001],
    ],
    ["5", "-1%", "1e999%", "%"],
  ],
  [
    "nats",
    parseNats,
    [
      ["0", 0],
      ["0.02", 0.02],
      ["1e-9", 1e-9],
      ["2", 2],
    ],
    ["2%"],
  ],
  [
    "a number of prompts",
    parseSamples,
    [
      ["1", 1],
      ["256", 256],
    ],
    ["0", "1.5", "1e3", "Auto"],
  ],
  [
    "a probability of being exceeded",
    parseExceedance,
    [
      ["5%", 0.05],
      ["0.05", 0.05],
      ["0.1 %", 0.001],
      ["50%", 0.5],
    ],
    ["0", "0%", "5", "0.0001", "51%", "auto"],
  ],
  [
    "a factor",
    parseHeadroom,
    [
      ["1", 1],
      ["1.1", 1.1],
      ["16", 16],
    ],
    ["0.99", "16.1", "110%", "AUTO", "auto "],
  ],
  [
    "a count",
    parsePositiveInteger,
    [
      ["1", 1],
      ["2048", 2048],
    ],
    ["0", "1.5", "1e3"],
  ],
  ["a window", parseWindow, [["2", 2]], ["0", "1", "2.5"]],
])("%s", (_what, parse, legal, illegal) => {
  test.each(legal)("%s is %d", (text, value) => {
    expect(parse(text)).toBeCloseTo(value, 12);
  });

  test.each([...illegal, ...ODD])("refuses %j, and says what is expected", (text) => {
    expect(() => parse(text)).toThrow(/^Expected a/);
  });
});

test.each([parseHeadroom, parseSamples])("%o may be left to the measurement", (parse) => {
  expect(parse("auto")).toBe("auto");
});
