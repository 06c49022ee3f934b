// The option `--provider` of every command that computes. Knows no provider.

import type { Option } from "commander";
import { PROVIDER_CHOICES, type ProviderChoice } from "../pipeline/choose-provider.js";
import { choiceOption } from "./choice-option.js";

/** Replaces the option, for whole pipelines and for tests that must not depend on the machine. */
const VARIABLE = "CREATE_KV_SCALES_PROVIDER";

export function providerOption(byDefault: ProviderChoice): Option {
  return choiceOption("--provider <provider>", "where to compute", Object.keys(PROVIDER_CHOICES))
    .default(byDefault)
    .env(VARIABLE);
}
