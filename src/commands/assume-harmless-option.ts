// The option that accepts keys of config.json that are not understood. Knows no key.

import { Option } from "commander";
import { parseText } from "./option-values.js";

/** Repeatable: each adds a key. */
export function assumeHarmlessOption(): Option {
  return new Option(
    "--assume-harmless <key>",
    "a key of config.json that is not understood and that you know changes nothing; repeatable",
  ).argParser((key: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), parseText(key)]);
}
