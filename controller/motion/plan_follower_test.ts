import assert from "node:assert/strict";
import fc from "fast-check";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { createRecordMemory, SharedRecord } from "../threads/shared_record.ts";
import { MAX_PLAN_STEPS, PLAN } from "./motion_memory.ts";
import { PlanFollower } from "./plan_follower.ts";

const AT_REST = new Float64Array(ALOHA_DIM);

/** A follower, and the other end of its memory. */
function create(cyclesPerStep: number) {
  const memory = createRecordMemory(PLAN.length);
  const record = new SharedRecord(memory);
  const follower = new PlanFollower(memory, cyclesPerStep);
  const send = (id: number, firstStep: number, targets: readonly number[]) => {
    const values = new Float64Array(PLAN.targets + targets.length * ALOHA_DIM);
    values.set([id, firstStep, targets.length]);
    targets.forEach((target, n) => {
      const at = PLAN.targets + n * ALOHA_DIM;
      values.fill(target, at, at + ALOHA_DIM);
    });
    record.write(values);
  };
  const out = new Float64Array(ALOHA_DIM);
  /** What is wanted in a cycle, and the position in the plan. */
  const want = (step: number, cycle: number) => {
    follower.look(step, cycle);
    return [follower.want(step, cycle, AT_REST, out), out[13]];
  };
  return { follower, send, want };
}

Deno.test("PlanFollower reaches every target in the last cycle of its step, along a line", () => {
  const targets = fc.array(fc.double({ min: -3, max: 3, noNaN: true }), {
    minLength: 1,
    maxLength: 20,
  });
  fc.assert(
    fc.property(targets, fc.constantFrom(1, 2, 3, 4), fc.nat(9), (plan, cycles, first) => {
      const { send, want } = create(cycles);
      send(1, first, plan);
      for (let step = first; step < first + plan.length; step++) {
        const from = step === first ? 0 : plan[step - first - 1], to = plan[step - first];
        for (let cycle = 0; cycle < cycles; cycle++) {
          const [index, wanted] = want(step, cycle);
          assert.equal(index, step - first);
          assert.ok(Math.abs(wanted - (from + (to - from) * (cycle + 1) / cycles)) < 1e-12);
        }
      }
      assert.equal(want(first + plan.length, 0)[0], -1);
    }),
    { numRuns: 100 },
  );
});

Deno.test("PlanFollower begins a plan for the next step with the first step to begin", () => {
  const { follower, send, want } = create(4);
  send(1, -1, [0.4, 0.8]);
  assert.equal(want(7, 2)[0], -1, "seen in the middle of step 7");
  assert.equal(follower.firstStep, 8);
  assert.deepEqual(want(8, 0), [0, 0.1]);
  send(2, -1, [0.5]);
  assert.deepEqual(want(9, 0), [0, 0.1 + (0.5 - 0.1) / 4]);
  assert.equal(follower.firstStep, 9);
});

Deno.test("PlanFollower.want() is in time again after cycles that were skipped", () => {
  const { send, want } = create(4);
  send(1, 0, [0.4, 0.8, 1.2]);
  assert.deepEqual(want(0, 0), [0, 0.1]);
  // Cycles 1 of step 0 to 1 of step 1 are missing.
  const [index, wanted] = want(1, 2);
  assert.deepEqual([index, wanted], [1, 0.1 + (0.8 - 0.1) * 3 / 4]);
  assert.deepEqual(want(1, 3), [1, 0.8]);
});

Deno.test("PlanFollower.forget() drops what has begun and what has not, and takes newer plans", () => {
  const { follower, send, want } = create(1);
  send(1, 0, [1, 1, 1, 1]);
  want(0, 0);
  send(2, 2, [2, 2]);
  want(1, 0);
  follower.forget();
  assert.deepEqual([follower.planId, follower.followedId, follower.stepsLeft(1)], [0, 0, 0]);
  assert.equal(want(2, 0)[0], -1);
  send(3, 3, [3]);
  assert.deepEqual(want(3, 0), [0, 3]);
});

Deno.test("PlanFollower.stepsLeft() counts what is still to come", () => {
  const { follower, send, want } = create(1);
  send(1, 5, [1, 1, 1]);
  want(3, 0);
  assert.deepEqual([3, 5, 6, 7, 8].map((step) => follower.stepsLeft(step)), [3, 2, 1, 0, 0]);
});

Deno.test("PlanFollower ignores plans whose number of steps is none", () => {
  const memory = createRecordMemory(PLAN.length);
  const record = new SharedRecord(memory);
  const follower = new PlanFollower(memory, 1);
  [0, -1, 1.5, NaN, MAX_PLAN_STEPS + 1].forEach((steps, n) => {
    record.write([n + 1, 0, steps]);
    follower.look(0, 0);
    assert.equal(follower.planId, 0);
    assert.equal(follower.hasTarget(0), false);
  });
});
