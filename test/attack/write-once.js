// Writes a result with made-up scales, without the seconds that computing them takes: the program's own writer from dist/.
//
//   node test/attack/write-once.js MODEL OUTPUT|--in-place FORMAT [--force]

import { attentionNames } from "../../dist/checkpoint/attention-names.js";
import { patchConfigText } from "../../dist/checkpoint/config-text.js";
import { openCheckpoint } from "../../dist/checkpoint/open-checkpoint.js";
import { tryInPlace, tryNewFolder } from "../../dist/checkpoint/output-checks.js";
import { OUTPUT_FORMATS, scaleNames, scaleTensors } from "../../dist/checkpoint/output-formats.js";
import { writeNewCheckpoint } from "../../dist/checkpoint/write-checkpoint.js";
import { writeInPlace } from "../../dist/checkpoint/write-in-place.js";

const [, , model = "", output = "", format = "tgi", flag] = process.argv;
const force = flag === "--force";
if (format !== "tgi" && format !== "vllm") throw new Error(`format: ${format}`);

try {
  const checkpoint = await openCheckpoint(model);
  const attentions = attentionNames(checkpoint.tensors.keys());
  const names = Array.from(attentions, ([layer, name]) => ({ layer, name }));
  const scales = [...attentions.keys()].map((layer) => ({ layer, kScale: 0.5, vScale: 0.25, kvScale: 0.5 }));
  const content = {
    scales: scaleTensors(format, scales, scaleNames(names)),
    metadata: { format: "pt" },
    configText: patchConfigText(
      checkpoint.configText,
      checkpoint.config,
      OUTPUT_FORMATS[format].config("float8_e4m3fn"),
    ),
    sideTexts: new Map(),
    recordText: `${JSON.stringify({ tool: "create-kv-scales", format }, null, 2)}\n`,
  };
  if (output === "--in-place") {
    await tryInPlace(checkpoint, force);
    await writeInPlace(checkpoint, content, force);
  } else {
    await tryNewFolder(checkpoint, output, force);
    await writeNewCheckpoint(checkpoint, output, content, { force });
  }
} catch (error) {
  if (!(error instanceof Error) || !("exitCode" in error) || typeof error.exitCode !== "number") throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
}
