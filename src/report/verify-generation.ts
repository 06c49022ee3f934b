// The words of every report about generated texts: where two differ, what they share, what their caches stored. Pure.

import { counted, formatCount } from "../counted.js";
import type { GeneratedText, GenerationResult, MeasuredCache } from "../pipeline/verify-result.js";
import type { Shown } from "./shown-text.js";
import { isWide } from "./verify-lines.js";

/** Such as "the texts differ from token 12 on (64 tokens)". */
export function partingOf({ bits16, fp8, partsAt }: GeneratedText): string {
  const [tokens, others] = [bits16.tokenIds.length, fp8.tokenIds.length];
  if (partsAt === undefined) return tokens === 1 ? "the one token is equal" : `all ${tokens} tokens are equal`;
  const lengths =
    tokens === others ? counted(tokens, "token") : `${counted(tokens, "token")} in 16 bits, ${others} in FP8`;
  return `the texts differ from token ${partsAt} on (${lengths})`;
}

/** What both texts begin with, in whole words, and how each goes on. */
export function splitTexts({ bits16, fp8 }: Shown<GeneratedText>): {
  readonly shared: string;
  readonly bits16: string;
  readonly fp8: string;
} {
  const [first, second]: readonly [string, string] = [bits16.text, fp8.text];
  if (first === second) return { shared: first, bits16: "", fp8: "" };
  const firstCharacters = [...first];
  const secondCharacters = [...second];
  const equal = firstCharacters.findIndex((character, index) => character !== secondCharacters[index]);
  const common = firstCharacters.slice(0, equal === -1 ? firstCharacters.length : equal).join("");
  // Scripts of wide characters put no spaces between words.
  const shared = isWide([...common].at(-1) ?? "") ? common : common.slice(0, common.lastIndexOf(" ") + 1);
  return { shared, bits16: first.slice(shared.length), fp8: second.slice(shared.length) };
}

/** How many texts are equal, the bytes of both caches, and how they were stored. */
export function storageOf({ texts, bits16, fp8 }: GenerationResult): string {
  const equal = texts.filter(({ partsAt }) => partsAt === undefined).length;
  const perLayer = [bits16, fp8].map(bytesPerLayer);
  const layers = perLayer.includes(undefined) ? "" : ` (per layer ${perLayer.join(" and ")})`;
  const bytes = `${counted(bits16.bytesPerToken, "byte")} in ${typeOf(bits16)}, ${formatCount(fp8.bytesPerToken)} in ${typeOf(fp8)}${layers}`;
  return `${equal} of ${counted(texts.length, "text")} ${equal === 1 ? "is" : "are"} equal. A token takes ${bytes}. Stored as ${storedAs([bits16, fp8])}.`;
}

/** Such as "uint16 and uint8 codes". @param caches all stored in one way */
export function storedAs(caches: readonly MeasuredCache[]): string {
  const types = caches.map(({ storedType }) => storedType).join(" and ");
  return caches[0]?.storedBy === "loop" ? `${types} in GroupQueryAttention's own cache` : `${types} codes`;
}

/** Such as "768"; undefined when layers differ. */
function bytesPerLayer({ bytesPerTokenByLayer: [first, ...others] }: MeasuredCache): string | undefined {
  return first === undefined || others.some((bytes) => bytes !== first) ? undefined : formatCount(first);
}

/** The description without where scales come from. */
function typeOf({ description }: MeasuredCache): string {
  return description.split(",")[0] ?? description;
}
