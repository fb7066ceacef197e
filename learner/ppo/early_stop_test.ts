import assert from "node:assert/strict";
import { EMPTY_EPOCH, shouldStopEarly, trackKl } from "./early_stop.ts";

Deno.test("shouldStopEarly() stops after an epoch whose mean is above the target", () => {
  const epoch = [0.01, 0.03].reduce(trackKl, EMPTY_EPOCH);
  assert.equal(shouldStopEarly(epoch, { targetKl: 0.019 }), true);
  assert.equal(shouldStopEarly(epoch, { targetKl: 0.02 }), false);
  assert.equal(shouldStopEarly(epoch, { targetKl: 0 }), false);
  assert.deepEqual(trackKl(epoch, NaN), epoch);
  assert.equal(shouldStopEarly(EMPTY_EPOCH, { targetKl: 0.01 }), false);
});

Deno.test("shouldStopEarly() by batch allows one half more than the target", () => {
  const options = { targetKl: 0.02, check: "batch" } as const;
  assert.equal(shouldStopEarly(EMPTY_EPOCH, { ...options, lastKl: 0.029 }), false);
  assert.equal(shouldStopEarly(EMPTY_EPOCH, { ...options, lastKl: 0.031 }), true);
});
