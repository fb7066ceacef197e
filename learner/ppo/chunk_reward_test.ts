import assert from "node:assert/strict";
import fc from "fast-check";
import { discountChunk } from "./chunk_reward.ts";

const gammas = fc.double({ min: 0, max: 1, noNaN: true });
const rewardLists = fc.array(fc.float({ min: -10, max: 10, noNaN: true }), {
  minLength: 1,
  maxLength: 20,
});

/** A chunk whose rewards are known step by step. */
function chunk(rewards: readonly number[]) {
  return {
    reward: rewards.reduce((a, b) => a + b, 0),
    stepsExecuted: rewards.length,
    stepRewards: Float32Array.from(rewards),
  };
}

function assertClose(actual: number, expected: number, tolerance = 1e-9) {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);
}

Deno.test("discountChunk() discounts rewards inside the chunk, hand-worked", () => {
  // 4 + ½·2 + ¼·8 = 7; what follows three steps later weighs ⅛.
  assert.deepEqual(discountChunk(chunk([4, 2, 8]), { gamma: 0.5, discounting: "step" }), {
    reward: 7,
    discount: 0.125,
  });
});

Deno.test("discountChunk() by chunk is the plain sum and γ, however long the chunk is", () => {
  for (const rewards of [[14], [4, 2, 8]]) {
    const found = discountChunk(chunk(rewards), { gamma: 0.5, discounting: "chunk" });
    assert.deepEqual(found, { reward: 14, discount: 0.5 });
  }
});

Deno.test("discountChunk() of one step is that step, both ways alike", () => {
  for (const discounting of ["step", "chunk"] as const) {
    const found = discountChunk({ reward: 3, stepsExecuted: 1 }, { gamma: 0.9, discounting });
    assert.deepEqual(found, { reward: 3, discount: 0.9 });
  }
});

Deno.test("discountChunk() with γ = 1 gives sums, with γ = 0 the first step's reward", () => {
  fc.assert(
    fc.property(rewardLists, (rewards) => {
      const known = chunk(rewards);
      const one = discountChunk(known, { gamma: 1, discounting: "step" });
      assertClose(one.reward, known.reward);
      assert.equal(one.discount, 1);
      const zero = discountChunk(known, { gamma: 0, discounting: "step" });
      assert.deepEqual(zero, { reward: rewards[0] + 0, discount: 0 });
    }),
    { numRuns: 50, seed: 1 },
  );
});

Deno.test("discountChunk() of a chunk is that of its first part, then of its second one", () => {
  fc.assert(
    fc.property(rewardLists, rewardLists, gammas, (first, second, gamma) => {
      const options = { gamma, discounting: "step" } as const;
      const [a, b] = [first, second].map((part) => discountChunk(chunk(part), options));
      const whole = discountChunk(chunk([...first, ...second]), options);
      assertClose(whole.reward, a.reward + a.discount * b.reward);
      assertClose(whole.discount, a.discount * b.discount);
    }),
    { numRuns: 50, seed: 2 },
  );
});

Deno.test("discountChunk() spreads a sum over the steps: exact when even, bounded otherwise", () => {
  fc.assert(
    fc.property(rewardLists, gammas, (rewards, gamma) => {
      const options = { gamma, discounting: "step" } as const;
      const { stepRewards, ...sum } = chunk(rewards);
      const exact = discountChunk({ ...sum, stepRewards }, options);
      const spread = discountChunk(sum, options);
      assert.equal(spread.discount, exact.discount);
      const total = rewards.reduce((a, r) => a + Math.abs(r), 0);
      const bound = (1 - gamma ** (rewards.length - 1)) * total;
      assert.ok(Math.abs(spread.reward - exact.reward) <= bound + 1e-9);

      const even = chunk(rewards.map(() => rewards[0]));
      const withoutSteps = discountChunk({ ...even, stepRewards: undefined }, options);
      assertClose(withoutSteps.reward, discountChunk(even, options).reward);
    }),
    { numRuns: 100, seed: 3 },
  );
});

Deno.test("discountChunk() refuses a chunk without steps, wrong lengths and broken rewards", () => {
  const options = { gamma: 0.9, discounting: "step" } as const;
  assert.throws(
    () => discountChunk({ reward: 0, stepsExecuted: 0 }, options),
    /RangeError: .* 0 of its steps were executed/,
  );
  assert.throws(() => discountChunk({ reward: 0, stepsExecuted: 1.5 }, options), RangeError);
  assert.throws(
    () => discountChunk({ ...chunk([1, 2]), stepsExecuted: 3 }, options),
    /RangeError: .* 2 rewards for 3 executed steps/,
  );
  assert.throws(() => discountChunk({ reward: NaN, stepsExecuted: 1 }, options), /add up to NaN/);
  assert.throws(() => discountChunk(chunk([1, Infinity]), options), /add up to Infinity/);
});
