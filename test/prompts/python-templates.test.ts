// Chat templates give the text that transformers gives, and refuse what it refuses: goldens by
// test/golden/make_chat_template_golden.py.

import { describe, expect, test } from "vitest";
import { PromptDataError } from "../../src/errors.js";
import { parseChatTemplates } from "../../src/prompts/chat-template.js";
import type { Message } from "../../src/prompts/prompt-rows.js";
import { strftime } from "../../src/prompts/strftime.js";
import { readGolden } from "../helpers/golden-checkpoints.js";

interface Case {
  readonly template: string;
  readonly messages: readonly Message[];
  readonly tools: readonly unknown[] | null;
  readonly text?: string;
  readonly error?: string;
}

interface Golden {
  readonly cases: readonly Case[];
  readonly dates: readonly {
    readonly date: readonly [number, number, number, number, number, number, number];
    readonly format: string;
    readonly text: string;
  }[];
}

const { cases, dates } = readGolden<Golden>("chat-templates.json");

function render({ template, messages, tools }: Case): string {
  const templates = new Map([["default", { path: "chat_template.jinja", source: template }]]);
  const conversation = { messages, ...(tools !== null && { tools }) };
  return parseChatTemplates(templates, { bos_token: "<s>" })(conversation, "p.jsonl:1");
}

test.each(cases.filter(({ text }) => text !== undefined))("$template", (row) => {
  expect(render(row)).toBe(row.text);
});

test.each(cases.filter(({ error }) => error !== undefined))("$template is refused ($error)", (row) => {
  expect(() => render(row)).toThrow(PromptDataError);
});

describe("dates are those of Python", () => {
  test("in every directive", () => {
    const found = dates.map(({ date, format }) => {
      const [year, month, day, hours, minutes, seconds, microseconds] = date;
      return strftime(new Date(year, month - 1, day, hours, minutes, seconds, microseconds / 1000), format);
    });
    expect(found).toEqual(dates.map(({ text }) => text));
  });

  test("now, in a template", () => {
    const text = render({ template: "{{ strftime_now('%Y|%A') }}", messages: [], tools: null });
    expect(text).toBe(strftime(new Date(), "%Y|%A"));
  });
});
