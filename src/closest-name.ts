// Which name of a list was meant by one that is not in it: names that differ by a typing mistake, or that were begun.
// Pure; knows no list.

/** Of the letters of a name, this share may be wrong. */
const SHARE_OF_MISTAKES = 0.4;
/** From here on, a name that was begun is more than a slip. */
const LEAST_BEGINNING = 3;

/** Such as ` Did you mean inspect?`, to go behind a sentence; nothing where no name is near. */
export function didYouMean(typed: string, names: readonly string[]): string {
  const name = closestName(typed, names);
  return name === undefined ? "" : ` Did you mean ${name}?`;
}

/** The name with the fewest mistakes in it; undefined when none is near. */
export function closestName(typed: string, names: readonly string[]): string | undefined {
  const word = typed.trim().toLowerCase();
  const begun = names.filter((name) => word.length >= LEAST_BEGINNING && name.toLowerCase().startsWith(word));
  if (begun.length === 1) return begun[0];
  const [best] = names
    .map((name) => ({ name, mistakes: distance(word, name.toLowerCase()) }))
    .filter(({ name, mistakes }) => mistakes <= Math.max(1, Math.floor(name.length * SHARE_OF_MISTAKES)))
    .toSorted((a, b) => a.mistakes - b.mistakes);
  return best?.name;
}

/** How many letters were left out, added, changed, or swapped with their neighbour. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwapped ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, changed, swapped));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
