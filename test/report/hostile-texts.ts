// Texts that a checkpoint, a prompt, a file name or a server may hold to deceive whoever reads a report, and what must
// never be in one. The list of characters is written down here by itself: it is not that of the program.

const OTHERS: readonly (readonly [first: number, last: number])[] = [
  [0x00, 0x08], // C0, but for tab and line end
  [0x0b, 0x1f],
  [0x7f, 0x9f], // DEL, C1
  [0xad, 0xad], // soft hyphen
  [0x61c, 0x61c], // bidirectional: Arabic letter mark
  [0x200b, 0x200b], // zero-width space
  [0x200e, 0x200f], // bidirectional: marks
  [0x2028, 0x202e], // line and paragraph separators, bidirectional embeddings and overrides
  [0x2060, 0x206f], // word joiner, invisible operators, bidirectional isolates
  [0x3164, 0x3164], // a letter without a shape
  [0xd800, 0xdfff], // halves of pairs that are alone
  [0xfeff, 0xfeff], // byte order mark
  [0xfff9, 0xfffb], // annotations
  [0xfffe, 0xffff], // no characters
  [0xe0001, 0xe007f], // tags
];

/** Characters that steer a terminal, reorder or hide text, with their places. Tabs and line ends are none of them. */
export function misleadingIn(text: string): string[] {
  return [...text].flatMap((character, index) => {
    const code = character.codePointAt(0) ?? 0;
    const isMisleading = OTHERS.some(([first, last]) => code >= first && code <= last);
    return isMisleading ? [`U+${code.toString(16)} at ${index}`] : [];
  });
}

/** What a text would begin a line with, if it could. */
export const FAKE_LINE = "FAKE: all is well";

export const HOSTILE_TEXTS: Readonly<Record<string, string>> = {
  "clears the screen and sets the clipboard": "\u001B[2J\u001B]52;c;cHduCg==\u0007x",
  "hides what follows, in colours": "\u001B[8m\u001B[31mx",
  "C1 controls": "\u009B2J\u009D0;title\u009C\u0085x",
  "goes back over the line": `x\r${FAKE_LINE}\u0008\u0008\u007F`,
  "begins a line": `x\n${FAKE_LINE}\nError: ${FAKE_LINE}`,
  "begins a line by Unicode": `x\u2028${FAKE_LINE}\u2029${FAKE_LINE}\u000B\u000C`,
  "ends a block and begins another": `x\n\n${FAKE_LINE}\n\n# ${FAKE_LINE}`,
  "turns text round": "\u202Egnp.exe\u202C \u2066isolated\u2069 \u200F\u061C",
  "hides text": "pay\u200Bpal\u2060\uFEFF\u00AD\u3164 \u{E0041}\u{E0042}",
  "halves of pairs": "\uD800 \uDFFF x\uDC00",
  "no characters": "\uFFFE\uFFFF\uFFF9\u0000",
  "Markdown's tables and code": "a | b |\n| - | - |\n`code` ``` x \\| \\",
  "Markdown's links and pictures":
    "[x](http://evil.example) ![x](http://evil.example/p.png) [^1] [x]: http://e.example",
  "what GitHub links": "@torvalds #1 http://evil.example _www.evil.example a@evil.example mailto:a@evil.example",
  "elements of HTML": `"><img src=x onerror=alert(1)></script><script>alert(1)</script><!-- --> '"`,
  "ends of XML": `]]></system-out></testcase><testcase name="fake"/>&amp;&#x1b;`,
  "very long": "x".repeat(200_000),
  "very long, each character to be written out": "\u001B".repeat(50_000),
};
