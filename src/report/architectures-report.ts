// The list of architectures as people read it in a terminal, and as JSON for machines. Pure: text out.

import type { ArchitectureList, SupportedArchitecture } from "../pipeline/list-architectures.js";
import { resultJson } from "./result-json.js";
import type { Screen } from "./screen.js";
import { wrapText } from "./wrapped-text.js";

const GAP = 2;

/** Every model_type that is supported, with what it covers, multimodal ones last; then those that are not, by reason. */
export function architecturesReport({ supported, unsupported }: ArchitectureList, { colors, width }: Screen): string {
  const nameWidth = GAP + Math.max(...supported.map(({ modelType }) => modelType.length));
  const indent = " ".repeat(nameWidth);
  const lineOf = ({ modelType, covers }: SupportedArchitecture) =>
    `${colors.bold(modelType.padEnd(nameWidth))}${wrapText(covers, width, indent)}`;
  const isMultimodal = ({ decoderKey }: SupportedArchitecture) => decoderKey !== undefined;
  const reasons = [...new Set(unsupported.map(({ reason }) => reason))];
  const refused = reasons.flatMap((reason) => {
    const names = unsupported.filter((one) => one.reason === reason).map(({ modelType }) => modelType);
    return [wrapText(names.join(", "), width), wrapText(`  ${reason}`, width, "  ")];
  });
  return [
    ...supported.filter((one) => !isMultimodal(one)).map(lineOf),
    "",
    colors.bold("Multimodal, of which the text decoder is calibrated, with text:"),
    ...supported.filter(isMultimodal).map(lineOf),
    "",
    wrapText("The name is model_type in config.json.", width),
    "",
    colors.bold("Not supported, and why:"),
    ...refused,
    "",
  ].join("\n");
}

/** The result for machines. Keys are stable. */
export function architecturesJson({ supported, unsupported }: ArchitectureList): string {
  return resultJson({
    supported: supported.map(({ modelType, covers, decoderKey, notMeasured }) => ({
      ...{ model_type: modelType, covers, decoder_key: decoderKey ?? null, not_measured: notMeasured },
    })),
    unsupported: unsupported.map(({ modelType, reason }) => ({ model_type: modelType, reason })),
  });
}
