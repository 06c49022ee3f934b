// Generated texts in the HTML report: the answers through the 16-bit and the FP8 cache, and where they differ. Pure.

import type { GeneratedText, GenerationResult } from "../pipeline/verify-result.js";
import { html, type Markup } from "./html-markup.js";
import { partingOf, storageOf } from "./verify-generation.js";

export function generatedTexts(generation: GenerationResult): Markup {
  return html`<p>Prompts answered with the most likely token each time, through caches that are really stored.
${storageOf(generation)}</p>
${generation.texts.map(generatedText)}`;
}

function generatedText(generated: GeneratedText): Markup {
  const { prompt, bits16, fp8, partsAt } = generated;
  const answers =
    partsAt === undefined
      ? answer("Both caches", bits16.text)
      : [answer("16 bits", bits16.text, fp8.text), answer("FP8", fp8.text, bits16.text)];
  const says = partingOf(generated);
  return html`<article class="generated">
<h3 class="prompt"><bdi>${prompt}</bdi></h3>
<div class="answers">${answers}</div>
<p class="finding">${says.charAt(0).toUpperCase()}${says.slice(1)}.</p>
</article>
`;
}

/** The part that differs from the other answer is marked. */
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
