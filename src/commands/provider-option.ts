// `--provider`, as every command that computes has it. Knows nothing of what a provider is.

import type { Option } from "commander";
import { PROVIDER_CHOICES, type ProviderChoice } from "../pipeline/choose-provider.js";
import { choiceOption } from "./choice-option.js";

/** Stands in for the option, for whole pipelines and for tests that must not depend on what the machine has. */
const VARIABLE = "CREATE_KV_SCALES_PROVIDER";

export function providerOption(byDefault: ProviderChoice): Option {
  return choiceOption("--provider <provider>", "where to compute", Object.keys(PROVIDER_CHOICES))
    .default(byDefault)
    .env(VARIABLE);
}
