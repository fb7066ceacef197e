import assert from "node:assert/strict";
import fc from "fast-check";
import { DECAYS, learningRateScale, policyLossWeight } from "./schedule.ts";

const close = (x: number, y: number) => assert.ok(Math.abs(x - y) < 1e-12, `${x} is not ${y}`);

Deno.test("learningRateScale() falls linearly without a warm-up", () => {
  const options = { totalSteps: 10, finalFraction: 0.2 };
  [[0, 1], [5, 0.6], [10, 0.2], [99, 0.2]].forEach(([step, scale]) =>
    close(learningRateScale(step, options), scale)
  );
});

Deno.test("learningRateScale() warms up from above 0, then falls by half a cosine", () => {
  const options = { totalSteps: 12, warmUpSteps: 4, decay: "cosine", finalFraction: 0 } as const;
  const scales = [0.25, 0.5, 0.75, 1, 1];
  scales.forEach((scale, step) => close(learningRateScale(step, options), scale));
  close(learningRateScale(6, options), 0.5 * (1 + Math.SQRT1_2));
  close(learningRateScale(8, options), 0.5);
  close(learningRateScale(12, options), 0);
});

Deno.test("learningRateScale() stays in [0, 1], ends at its fraction, never rises after warm-up", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...DECAYS),
      fc.nat(20),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (decay, warmUpSteps, finalFraction) => {
        const options = { totalSteps: 20, warmUpSteps, decay, finalFraction };
        const scales = Array.from({ length: 25 }, (_, step) => learningRateScale(step, options));
        assert.ok(scales.every((s) => s >= 0 && s <= 1));
        close(scales[24], decay === "constant" ? 1 : finalFraction);
        const after = scales.slice(warmUpSteps);
        assert.ok(after.every((s, i) => i === 0 || s <= after[i - 1]));
      },
    ),
    { numRuns: 60, seed: 1 },
  );
});

Deno.test("learningRateScale() refuses settings out of range", () => {
  const good = { totalSteps: 10, finalFraction: 1 };
  for (const bad of [{ totalSteps: 0 }, { warmUpSteps: -1 }, { finalFraction: 1.5 }]) {
    assert.throws(() => learningRateScale(0, { ...good, ...bad }), /RangeError: .*step sizes/);
  }
});

Deno.test("policyLossWeight() leaves the first updates to the critic", () => {
  assert.deepEqual([0, 1, 2, 3].map((update) => policyLossWeight(update, 2)), [0, 0, 1, 1]);
  assert.equal(policyLossWeight(0, 0), 1);
});
