// What a session makes of its weights when it opens, and what only in each run. Pure.

import type { Decoder } from "../architectures/description.js";
import { type SegmentPart, stacksExperts } from "../graphs/segment-parts.js";
import { PROVIDERS } from "../runtime/providers.js";
import type { SessionRequest } from "../runtime/session.js";
import type { ComputePlan } from "./compute-plan.js";

/** For a session of some parts. On a device, what the processor would make of codes beforehand takes it long. */
export function weightsWhenOpened(
  { provider, arithmetic, dequantizes }: ComputePlan,
  { quantization }: Decoder,
  parts: readonly SegmentPart[],
): Pick<SessionRequest, "keepsWeightsStored" | "dequantizesWhenOpened"> {
  const staysCodes = quantization !== undefined && dequantizes === "in-each-run" && PROVIDERS[provider].usesDevice;
  return {
    keepsWeightsStored: staysCodes || stacksExperts(parts, arithmetic),
    dequantizesWhenOpened: dequantizes === "when-opened",
  };
}
