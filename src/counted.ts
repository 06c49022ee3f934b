// Numbers of things as people write them: "1 prompt", "2,048 prompts". Pure; every part may say how many there are.

/** 12345.6 → "12,346" */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/**
 * A number and what it counts.
 * @param several the plural, where it is not the singular and an "s"
 */
export function counted(count: number, one: string, several?: string): string {
  return `${formatCount(count)} ${nounFor(count, one, several)}`;
}

/** What is counted, without the number: "layer" or "layers". */
export function nounFor(count: number, one: string, several = `${one}s`): string {
  return count === 1 ? one : several;
}
