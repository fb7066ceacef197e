import assert from "node:assert/strict";
import { stepSizeScale } from "./learning_rate.ts";

const OPTIONS = {
  updates: 10,
  totalSteps: 1000,
  warmUpUpdates: 0,
  learningRateSchedule: "linear",
  finalLearningRateFraction: 0.1,
} as const;

Deno.test("stepSizeScale() falls over the run's updates or, without them, its control steps", () => {
  assert.equal(stepSizeScale(OPTIONS, { updates: 0, controlSteps: 999 }), 1);
  assert.ok(Math.abs(stepSizeScale(OPTIONS, { updates: 5, controlSteps: 0 }) - 0.55) < 1e-12);
  assert.ok(Math.abs(stepSizeScale(OPTIONS, { updates: 99, controlSteps: 0 }) - 0.1) < 1e-12);
  const bySteps = { ...OPTIONS, updates: 0 };
  assert.ok(Math.abs(stepSizeScale(bySteps, { updates: 7, controlSteps: 500 }) - 0.55) < 1e-12);
});

Deno.test("stepSizeScale() warms up over updates in both, and loses no step to 0", () => {
  for (const updates of [10, 0]) {
    const options = { ...OPTIONS, updates, warmUpUpdates: 4 };
    const scales = [0, 1, 2, 3].map((done) =>
      stepSizeScale(options, { updates: done, controlSteps: 0 })
    );
    assert.deepEqual(scales, [0.25, 0.5, 0.75, 1]);
  }
});
