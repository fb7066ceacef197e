import assert from "node:assert/strict";
import fc from "fast-check";
import { type ExecutionPlan, stepsToExecute, WHOLE_CHUNKS } from "./execution_length.ts";

const now = (changes: Partial<Parameters<typeof stepsToExecute>[1]> = {}) => ({
  horizon: 10,
  progress: 0,
  entropy: 1,
  ...changes,
});

Deno.test("stepsToExecute() is the whole chunk unless told otherwise", () => {
  for (const progress of [0, 0.3, 1]) {
    assert.equal(stepsToExecute(WHOLE_CHUNKS, now({ progress, entropy: 99 })), 10);
  }
});

Deno.test("stepsToExecute() is fixed, or moves in a line over the run", () => {
  const fixed = { ...WHOLE_CHUNKS, executeSteps: 6 };
  assert.equal(stepsToExecute(fixed, now({ progress: 0.9 })), 6);
  const at = (plan: ExecutionPlan) =>
    [0, 0.25, 0.5, 1].map((progress) => stepsToExecute(plan, now({ progress })));
  assert.deepEqual(at({ ...fixed, executeStepsFinal: 2 }), [6, 5, 4, 2]);
  assert.deepEqual(at({ ...WHOLE_CHUNKS, executeStepsFinal: 2 }), [10, 8, 6, 2]);
  assert.deepEqual(at({ ...fixed, executeSteps: 2, executeStepsFinal: 10 }), [2, 4, 6, 10]);
});

Deno.test("stepsToExecute() is short where the policy is unsure, and never longer than scheduled", () => {
  const unsure = { ...WHOLE_CHUNKS, executeUncertainty: 1.5, executeMinSteps: 4 };
  assert.equal(stepsToExecute(unsure, now({ entropy: 1.5 })), 10);
  assert.equal(stepsToExecute(unsure, now({ entropy: 1.6 })), 4);
  assert.equal(stepsToExecute({ ...unsure, executeSteps: 3 }, now({ entropy: 1.6 })), 3);
  assert.equal(stepsToExecute(unsure, now({ entropy: 1.6, least: 7 })), 7);
});

Deno.test("stepsToExecute() is always from the least number to the horizon", () => {
  const steps = fc.integer({ min: 0, max: 100 });
  fc.assert(
    fc.property(
      fc.record({
        executeSteps: steps,
        executeStepsFinal: steps,
        executeUncertainty: fc.double({ min: 0, max: 5, noNaN: true }),
        executeMinSteps: fc.integer({ min: 1, max: 100 }),
      }),
      fc.integer({ min: 1, max: 100 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 10, noNaN: true }),
      fc.nat(),
      (plan, horizon, progress, entropy, some) => {
        const least = 1 + some % horizon;
        const h = stepsToExecute(plan, { horizon, progress, entropy, least });
        assert.ok(Number.isInteger(h) && h >= least && h <= horizon, `${h}`);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("stepsToExecute() refuses a horizon or a progress that cannot be", () => {
  for (const wrong of [{ horizon: 0 }, { horizon: 2.5 }, { progress: 1.1 }, { progress: NaN }]) {
    assert.throws(() => stepsToExecute(WHOLE_CHUNKS, now(wrong)), RangeError);
  }
});
