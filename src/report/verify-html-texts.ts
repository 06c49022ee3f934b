// Generated texts in the HTML report: what the 16-bit and the FP8 cache answered, and where they part. Pure.

import type { GeneratedText, GenerationResult } from "../pipeline/verify-result.js";
import { html, type Markup } from "./html-markup.js";
import { formatCount } from "./text.js";

export function generatedTexts({ texts, bytesPerToken }: GenerationResult): Markup {
  const { bits16, fp8 } = bytesPerToken;
  const equal = texts.filter(({ partsAt }) => partsAt === undefined).length;
  return html`<p>Prompts answered with the most likely token each time, through caches that are really stored. ${equal} of
${texts.length} answers are equal. The cache of a token takes ${formatCount(bits16)} bytes in 16 bits and ${formatCount(fp8)} in FP8.</p>
${texts.map(generatedText)}`;
}

function generatedText({ prompt, text16Bit, textFp8, tokens, partsAt }: GeneratedText): Markup {
  const answers =
    partsAt === undefined
      ? answer("Both caches", text16Bit)
      : [answer("16 bits", text16Bit, textFp8), answer("FP8", textFp8, text16Bit)];
  const says =
    partsAt === undefined
      ? `All ${formatCount(tokens)} tokens are equal.`
      : `The answers part at token ${formatCount(partsAt)} of ${formatCount(tokens)}.`;
  return html`<article class="generated">
<h3 class="prompt"><bdi>${prompt}</bdi></h3>
<div class="answers">${answers}</div>
<p class="finding">${says}</p>
</article>
`;
}

/** What differs from the other answer is marked. */
function answer(name: string, text: string, other = text): Markup {
  const shared = sharedLength(text, other);
  const rest = text.slice(shared);
  return html`<div class="answer"><h4>${name}</h4><p dir="auto">${text === "" ? html`<small>nothing</small>` : text.slice(0, shared)}${rest === "" ? "" : html`<mark>${rest}</mark>`}</p></div>`;
}

/** Length of the common beginning, no character cut in halves. */
function sharedLength(text: string, other: string): number {
  let length = 0;
  for (const character of text) {
    if (!other.startsWith(character, length)) return length;
    length += character.length;
  }
  return length;
}
