// The loop generates wherever it can; where it cannot, steps do, and why is not lost.

import { expect, test } from "vitest";
import { CheckpointError, InterruptedError, ProviderError } from "../../src/errors.js";
import { loopOrSteps } from "../../src/pipeline/loop-or-steps.js";

const rejecting = (error: Error) => () => Promise.reject(error);
const giving = (result: string) => () => Promise.resolve(result);
const unasked = () => expect.fail("was asked although it need not be");

test("the loop alone is asked where nothing is in its way", async () => {
  const chosen = await loopOrSteps({ obstacle: undefined, loop: giving("loop"), steps: unasked });
  expect(chosen).toEqual({ result: "loop", obstacle: undefined });
});

test("steps alone are asked where something is known to be", async () => {
  const chosen = await loopOrSteps({ obstacle: "it is blue", loop: unasked, steps: giving("steps") });
  expect(chosen).toEqual({ result: "steps", obstacle: "it is blue" });
});

test.each([
  new ProviderError("cuda could not open the model: no kernel."),
  new CheckpointError("cuda could not open the model: no kernel."),
])("steps follow a loop that fails: $name", async (error) => {
  const chosen = await loopOrSteps({ obstacle: undefined, loop: rejecting(error), steps: giving("steps") });
  expect(chosen).toEqual({ result: "steps", obstacle: "cuda could not open the model: no kernel" });
});

test.each([new InterruptedError(), new TypeError("a bug")])("nothing follows $name", async (error) => {
  await expect(loopOrSteps({ obstacle: undefined, loop: rejecting(error), steps: unasked })).rejects.toBe(error);
});

test("what fails both ways fails as steps do", async () => {
  const loop = rejecting(new ProviderError("the loop"));
  const steps = rejecting(new CheckpointError("steps"));
  await expect(loopOrSteps({ obstacle: undefined, loop, steps })).rejects.toThrow("steps");
});
