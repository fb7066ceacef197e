import assert from "node:assert/strict";
import fc from "fast-check";
import { type MotionState, stepMotion } from "./motion_profile.ts";

Deno.test("stepMotion() follows a trapezoid without overshoot", () => {
  const limits = { velocity: 1000, acceleration: 2000 };
  let state: MotionState = { position: 0, velocity: 0 };
  let [ms, fastest] = [0, 0];
  for (; state.position !== 2000; ms++) {
    const next = stepMotion(state, 2000, limits, 0.001);
    assert.ok(Math.abs(next.velocity - state.velocity) <= 2 + 1e-9 || next.position === 2000);
    fastest = Math.max(fastest, next.velocity);
    state = next;
    assert.ok(state.position <= 2000 && ms < 10_000);
  }
  // 0.5 s up over 250 ticks, 1.5 s at speed over 1500, 0.5 s down over 250.
  assert.equal(fastest, 1000);
  assert.ok(Math.abs(ms - 2500) <= 5, `${ms} ms`);
});

Deno.test("stepMotion() takes up to the velocity at once without an acceleration limit", () => {
  const limits = { velocity: 1000, acceleration: Infinity };
  const state = stepMotion({ position: 0, velocity: 0 }, -2.5, limits, 0.001);
  assert.deepEqual(state, { position: -1, velocity: -1000 });
  assert.equal(stepMotion(state, -1.5, limits, 0.001).position, -1.5);
});

Deno.test("stepMotion() reaches any goal from any state within its limits", () => {
  const ticks = fc.integer({ min: -4096, max: 4096 });
  fc.assert(
    fc.property(
      ticks,
      ticks,
      fc.integer({ min: 100, max: 3000 }),
      fc.integer({ min: 500, max: 50_000 }),
      (goal, turn, velocity, acceleration) => {
        let state: MotionState = { position: 0, velocity: 0 };
        // The goal changes on the way.
        for (let ms = 0; ms < 100; ms++) {
          state = stepMotion(state, turn, { velocity, acceleration }, 0.001);
        }
        for (let ms = 0; ms < 120_000 && state.position !== goal; ms++) {
          state = stepMotion(state, goal, { velocity, acceleration }, 0.001);
          assert.ok(Math.abs(state.velocity) <= velocity + 1e-6);
        }
        assert.deepEqual(state, { position: goal, velocity: 0 });
      },
    ),
    { numRuns: 40, seed: 5 },
  );
});
