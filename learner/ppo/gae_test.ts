import assert from "node:assert/strict";
import fc from "fast-check";
import type { ChunkTransition } from "../../common/types.ts";
import { makeTransition } from "../testing.ts";
import { computeGae, normalizeAdvantages } from "./gae.ts";
import { readPpoGolden } from "./testing.ts";

/** Consecutive chunks of one episode. */
function episode(
  rewards: readonly number[],
  values: readonly number[],
  last: Partial<ChunkTransition> = {},
): ChunkTransition[] {
  return rewards.map((reward, chunkIndex) =>
    makeTransition({
      chunkIndex,
      reward,
      value: values[chunkIndex],
      ...(chunkIndex === rewards.length - 1 ? last : {}),
    })
  );
}

const advantagesOf = (estimates: readonly { advantage: number }[]) =>
  estimates.map((e) => e.advantage);

function assertClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-12) {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) =>
    assert.ok(Math.abs(x - expected[i]) <= tolerance, `[${i}]: ${x} is not ${expected[i]}`)
  );
}

Deno.test("computeGae() gives hand-worked numbers for a terminal chunk", () => {
  // γ = ½, λ = ½. δ₁ = 4 + 0 − 2 = 2. δ₀ = 1 + ½·2 − 3 = −1, A₀ = −1 + ¼·2 = −½.
  const chunks = episode([1, 4], [3, 2], { isTerminal: true, finalValue: 99 });
  const estimates = computeGae(chunks, { gamma: 0.5, lambda: 0.5, nextValue: 99 });
  assert.deepEqual(advantagesOf(estimates), [-0.5, 2]);
  assert.deepEqual(estimates.map((e) => e.valueTarget), [2.5, 4]);
  assert.deepEqual(estimates.map((e) => e.transition), chunks);
});

Deno.test("computeGae() bootstraps a truncated chunk with the final observation's value", () => {
  // δ₁ = 4 + ½·6 − 2 = 5. δ₀ = −1, A₀ = −1 + ¼·5 = ¼.
  const chunks = episode([1, 4], [3, 2], { isTruncated: true, finalValue: 6 });
  const estimates = computeGae(chunks, { gamma: 0.5, lambda: 0.5, nextValue: 99 });
  assert.deepEqual(advantagesOf(estimates), [0.25, 5]);
});

Deno.test("computeGae() bootstraps an episode that goes on with the next chunk's value", () => {
  // δ₁ = 4 + ½·8 − 2 = 6. A₀ = −1 + ¼·6 = ½.
  const chunks = episode([1, 4], [3, 2], { finalValue: 99 });
  const estimates = computeGae(chunks, { gamma: 0.5, lambda: 0.5, nextValue: 8 });
  assert.deepEqual(advantagesOf(estimates), [0.5, 6]);
});

Deno.test("computeGae() takes a terminal chunk for terminal even if time ran out with it", () => {
  const chunks = episode([4], [2], { isTerminal: true, isTruncated: true, finalValue: 6 });
  assert.deepEqual(advantagesOf(computeGae(chunks, { gamma: 0.5, lambda: 0.5 })), [2]);
});

Deno.test("computeGae() refuses a gap and a missing value", () => {
  const options = { gamma: 0.9, lambda: 0.9 };
  const [a, b] = episode([0, 0], [0, 0]);
  const gap = [a, { ...b, chunkIndex: 2 }];
  assert.throws(
    () => computeGae(gap, { ...options, nextValue: 0 }),
    /RangeError: .* chunk 2 of episode episode follows chunk 0/,
  );
  assert.throws(
    () => computeGae([a, b], options),
    /RangeError: .*episode goes on after chunk 1, but no value/,
  );
  assert.throws(() => computeGae([b, a], { ...options, nextValue: 0 }), RangeError);
  assert.deepEqual(computeGae([], options), []);
});

Deno.test("computeGae() agrees with RLax", () => {
  const { gae } = readPpoGolden();
  assert.ok(new Set(gae.map((c) => c.end)).size === 3 && gae.length > 30);
  for (const { gamma, lambda, end, after, rewards, values, advantages } of gae) {
    const chunks = episode(rewards, values, {
      isTerminal: end === "terminal",
      isTruncated: end === "truncated",
      finalValue: end === "truncated" ? after : 0,
    });
    const nextValue = end === "going_on" ? after : undefined;
    const estimates = computeGae(chunks, { gamma, lambda, nextValue });
    assertClose(advantagesOf(estimates), advantages, 1e-9);
    assertClose(estimates.map((e) => e.valueTarget), advantages.map((a, t) => a + values[t]), 1e-9);
  }
});

const number = fc.double({ min: -10, max: 10, noNaN: true });
const steps = fc.array(fc.tuple(number, number), { minLength: 1, maxLength: 12 });

Deno.test("computeGae() with λ = 0 is the one-step error, with λ = 1 the return minus the value", () => {
  fc.assert(
    fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), number, (pairs, gamma, next) => {
      const rewards = pairs.map(([r]) => r), values = pairs.map(([, v]) => v);
      const chunks = episode(rewards, values);
      const following = [...values.slice(1), next];
      assertClose(
        advantagesOf(computeGae(chunks, { gamma, lambda: 0, nextValue: next })),
        rewards.map((r, t) => r + gamma * following[t] - values[t]),
      );
      let sum = next;
      const returns = rewards.map(() => 0);
      for (let t = rewards.length - 1; t >= 0; t--) returns[t] = sum = rewards[t] + gamma * sum;
      const targets = computeGae(chunks, { gamma, lambda: 1, nextValue: next });
      assertClose(targets.map((e) => e.valueTarget), returns, 1e-9);
    }),
    { numRuns: 100, seed: 3 },
  );
});

Deno.test("computeGae() of a whole is that of its parts when λ = 0 bootstraps between them", () => {
  const chunks = episode([1, -2, 3, 0.5], [0.1, 0.2, -0.3, 0.4], { isTerminal: true });
  const options = { gamma: 0.9, lambda: 0 };
  const whole = computeGae(chunks, options);
  const parts = [
    ...computeGae(chunks.slice(0, 2), { ...options, nextValue: chunks[2].value }),
    ...computeGae(chunks.slice(2), options),
  ];
  assert.deepEqual(parts, whole);
});

Deno.test("normalizeAdvantages() gives mean 0 and deviation 1, and 0 for equal ones", () => {
  const estimates = [3, -1, 4, 1, -5].map((advantage) => ({
    transition: makeTransition(),
    advantage,
    valueTarget: 7,
  }));
  const scaled = normalizeAdvantages(estimates);
  const mean = scaled.reduce((s, e) => s + e.advantage, 0) / 5;
  const variance = scaled.reduce((s, e) => s + e.advantage ** 2, 0) / 5 - mean ** 2;
  assertClose([mean, variance], [0, 1], 1e-7);
  assert.ok(scaled.every((e) => e.valueTarget === 7));
  assert.equal(normalizeAdvantages([estimates[0]])[0].advantage, 0);
  assert.deepEqual(normalizeAdvantages([]), []);
});
