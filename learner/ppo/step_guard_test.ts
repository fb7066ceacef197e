import assert from "node:assert/strict";
import { FRESH_GUARD, guardStep } from "./step_guard.ts";

Deno.test("guardStep() skips bad steps and asks for a rollback after three in a row", () => {
  const steps = [1, NaN, Infinity, 1, NaN, NaN, NaN, NaN, 1];
  let state = FRESH_GUARD;
  const actions = steps.map((loss) => {
    const judged = guardStep(state, [loss, 0.5]);
    state = judged.state;
    return judged.action;
  });
  assert.deepEqual(
    actions,
    ["apply", "skip", "skip", "apply", "skip", "skip", "rollback", "skip", "apply"],
  );
  assert.deepEqual(state, { inARow: 0, skipped: 6, rollbacks: 1 });
  assert.equal(guardStep(FRESH_GUARD, [0, -Infinity]).action, "skip");
  assert.equal(guardStep(FRESH_GUARD, [NaN], 1).action, "rollback");
});
