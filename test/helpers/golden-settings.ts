// Which golden checkpoints, together, have every setting of a description: for rules that hold of each kind of block, whatever
// the family.

import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { decoderTypeOf, GOLDEN_NAMES, goldenFolder } from "./golden-checkpoints.js";

/** Texts by which a description chooses, such as "fused": what is longer, or has a dot, is the name of a tensor. */
const CHOICE = /^[^.]{1,30}$/;

/** Every field that is there, by its path without numbers; and by what it chooses, where it does. */
function settingsIn(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((element) => settingsIn(element, path));
  if (typeof value === "object" && value !== null) {
    const kind = "kind" in value ? `${path}:${value.kind}` : path;
    return Object.entries(value).flatMap(([key, field]) => settingsIn(field, `${kind}.${key}`));
  }
  if (value === undefined) return [];
  return [typeof value === "string" && CHOICE.test(value) ? `${path}=${value}` : path];
}

async function chooseGoldens(): Promise<ReadonlySet<string>> {
  const seen = new Set<string>();
  const chosen = new Set<string>();
  for (const name of GOLDEN_NAMES) {
    const { config, tensors } = await openCheckpoint(goldenFolder(name));
    const { layers, ropes } = describeModel(config, tensors);
    for (const setting of settingsIn([layers, ropes], "")) {
      if (seen.has(setting)) continue;
      seen.add(setting);
      chosen.add(name);
    }
  }
  return chosen;
}

/** The goldens whose description says what none before them says. */
export const WITH_NEW_SETTINGS = await chooseGoldens();

/** Tells those of goldens that are the last of their family: it has most of its settings. */
export function oneOfEachFamily(goldens: readonly string[]): (golden: string) => boolean {
  const chosen = new Set(new Map(goldens.map((golden) => [decoderTypeOf(golden), golden])).values());
  return (golden) => chosen.has(golden);
}

/** Tells those, and the ones with new settings. */
export function oneOfEach(goldens: readonly string[]): (golden: string) => boolean {
  const isOfFamily = oneOfEachFamily(goldens);
  return (golden) => isOfFamily(golden) || WITH_NEW_SETTINGS.has(golden);
}
