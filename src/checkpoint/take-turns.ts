// Runs the same action on many items, a few at a time, so that few file handles are open. Knows nothing of files.

/** Node's file system calls share four threads: more at a time would only hold handles and memory. */
const AT_A_TIME = 8;

/** Like `Promise.all` over `act(item)`, a few at a time. Starts no more after the first error. */
export async function takeTurns<Item, Result>(
  items: readonly Item[],
  act: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  const waiting = items.entries();
  let failed = false;
  const work = async () => {
    for (const [index, item] of waiting) {
      if (failed) return;
      try {
        results[index] = await act(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, items.length) }, work));
  return results;
}
