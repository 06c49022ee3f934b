// The median: the middle of what there is.

import { expect, test } from "vitest";
import { medianOf } from "../../src/numerics/median.js";

test.each([
  ["one value", [3], 3],
  ["three, in any order", [5, 1, 4], 4],
  ["an even number: the mean of the two in the middle", [10, 1, 2, 4], 3],
  ["none", [], Number.NaN],
])("of %s", (_rule, values, expected) => {
  expect(medianOf(values)).toBe(expected);
});
