// The words and figures of every report about retrieval: what was asked, what each cache found, by depth. Pure; knows no
// layout.

import { counted, formatCount } from "../counted.js";
import { formatNats, formatRange, formatShare } from "../metrics/figures.js";
import type { RetrievalDepth, RetrievalResult, VerifyResult } from "../pipeline/verify-result.js";
import { subjectOf } from "./verify-figures.js";

export type WithRetrieval<Result extends VerifyResult = VerifyResult> = Result & {
  readonly retrieval: RetrievalResult;
};

export function hasRetrieval<Result extends VerifyResult>(result: Result): result is WithRetrieval<Result> {
  return result.retrieval !== undefined;
}

/** "12.5–25 %" */
export function depthName({ first, end }: RetrievalDepth): string {
  return `${first * 100}–${end * 100} %`;
}

/** A row for each depth, then all of them and the mean likelihood; a column for each cache. */
export function retrievalTable({ arms, depths, values }: RetrievalResult): {
  readonly titles: readonly string[];
  readonly rows: readonly (readonly string[])[];
} {
  return {
    titles: ["depth", ...arms.map(({ name }) => name), "asked"],
    rows: [
      ...depths.map((depth) => [
        depthName(depth),
        ...arms.map(({ name }) => formatCount(depth.found[name] ?? 0)),
        formatCount(depth.values),
      ]),
      ["all", ...arms.map(({ found }) => formatCount(found)), formatCount(values)],
      ["nats", ...arms.map(({ nats }) => formatNats(nats)), ""],
    ],
  };
}

/** What was asked for: "96 values, asked for at the end of a text of 8,190 tokens with 812 lines." */
export function retrievalTask({ texts, longest, lines, values }: RetrievalResult): string {
  const asked = counted(values, "value");
  return texts === 1
    ? `${asked}, asked for at the end of a text of ${counted(longest, "token")} that has ${counted(lines, "line")} with a name and a value.`
    : `${asked}, asked for at the ends of ${counted(texts, "text")} of up to ${counted(longest, "token")} that have ${counted(lines, "line")} with a name and a value.`;
}

/** What the judged cache finds and how likely it takes the values, beside the baseline; or that nothing can be said. */
export function retrievalFinding(result: WithRetrieval): string {
  const { retrieval, baseline } = result;
  const [first] = retrieval.arms;
  const subject = retrieval.arms.find(({ name }) => name === subjectOf(result)?.name);
  if (first === undefined || subject === undefined) return "";
  if (!retrieval.isTelling) {
    return `Even ${baseline} finds ${first.found === 0 ? "none" : `only ${formatCount(first.found)}`} of ${counted(retrieval.values, "value")}: this model does not do the task, so it says nothing of the caches.`;
  }
  const { kept, extraNats, name } = subject;
  const both = Math.round(kept.value * first.found);
  const size = formatNats(Math.abs(extraNats.value));
  return `${name} finds ${formatCount(both)} of the ${formatCount(first.found)} that ${baseline} finds, ${formatShare(kept.value)} (${formatRange(kept, formatShare)}). It takes a value for ${size} nats ${extraNats.value < 0 ? "more" : "less"} likely (difference ${formatRange(extraNats, formatNats)}).`;
}
