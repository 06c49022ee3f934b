// What ended a measurement in rounds, and how JSON says it. Pure.

/** What ended the rounds. */
export interface EndOfRounds {
  /** Prompts that there were. */
  readonly of: number;
  /** Whether more prompts would have changed nothing that matters; else there were no more. */
  readonly isEnough: boolean;
}

/** The same for kv_scales.json and --json; empty without rounds. */
export function roundsRecord(rounds: EndOfRounds | undefined): Record<string, unknown> {
  if (rounds === undefined) return {};
  return { rounds: { prompts: rounds.of, ended_by: rounds.isEnough ? "levels" : "prompts" } };
}
