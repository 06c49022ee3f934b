// Chooses the provider: the named one, or the best that works. Falls back only with `auto`, and with a warning.

import { ProviderError, UsageError } from "../errors.js";
import { hasNoGpu, type Obstacle, obstacleOf, type System, thisSystem } from "../runtime/provider-obstacles.js";
import { PROVIDERS, type Provider, type ProviderName } from "../runtime/providers.js";

/** A provider's name, or the best that works. */
export type ProviderChoice = ProviderName | "auto";

/** Every choice, for command lines and checks. */
export const PROVIDER_CHOICES = { auto: true, ...PROVIDERS } as const;

/**
 * The providers to try, in this order.
 * @param devices if given, only a provider with numbered devices is tried
 * @throws ProviderError when the named one cannot be used here, with what would change that
 */
export function providersToTry(
  choice: ProviderChoice,
  devices: readonly number[] | undefined,
  system: System = thisSystem(),
): readonly [ProviderName, ...ProviderName[]] {
  if (devices !== undefined) {
    const chosen = choice === "auto" ? "cuda" : choice;
    if (!PROVIDERS[chosen].choosesDevice) throw new UsageError(`--device goes with cuda; ${chosen} has none to choose`);
    return providersToTry(chosen, undefined, system);
  }
  if (choice !== "auto") {
    const obstacle = obstacleOf(choice, system);
    if (obstacle !== undefined) throw new ProviderError(`${choice} cannot be used: ${describeObstacle(obstacle)}`);
    return [choice];
  }
  const names = Object.keys(PROVIDERS) as ProviderName[];
  const likely = names.filter(
    (name) => name !== "cpu" && obstacleOf(name, system) === undefined && !hasNoGpu(name, system),
  );
  const [first, ...others] = likely;
  return first === undefined ? ["cpu"] : [first, ...others, "cpu"];
}

function describeObstacle({ what, command }: Obstacle): string {
  return command === undefined ? what : `${what}. This installs it: ${command.join(" ")}`;
}

export interface Computed<Result> {
  readonly result: Result;
  readonly provider: ProviderName;
  /** Why better providers were skipped. */
  readonly warnings: readonly string[];
}

/** Runs the work on the first provider that does not fail. Errors other than ProviderError end it. */
export async function onFirstThatWorks<Result>(
  providers: readonly ProviderName[],
  work: (provider: ProviderName) => Promise<Result>,
): Promise<Computed<Result>> {
  const warnings: string[] = [];
  for (const provider of providers) {
    try {
      return { result: await work(provider), provider, warnings };
    } catch (error) {
      if (!(error instanceof ProviderError) || provider === providers.at(-1)) throw error;
      warnings.push(`${provider} was skipped: ${error.message}`);
    }
  }
  throw new RangeError("no provider to try");
}

/** The warning about a provider that nobody has run yet. */
export function untestedWarning(provider: ProviderName): string[] {
  const { untested = false }: Provider = PROVIDERS[provider];
  return untested
    ? [`Nobody has run ${provider} yet: compare the result with --provider cpu, and please tell us about it.`]
    : [];
}
