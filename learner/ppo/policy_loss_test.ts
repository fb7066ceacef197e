import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";
import { clippedSurrogate, policyLoss, type SurrogateOptions } from "./policy_loss.ts";

await tf.setBackend("cpu");

const CLIP: SurrogateOptions = { clipRange: 0.2 };

/** The surrogate of chunks by their ratios and advantages. */
function surrogate(ratios: number[], advantages: number[], options: SurrogateOptions): number[] {
  return tf.tidy(() => [
    ...clippedSurrogate(tf.tensor1d(ratios), tf.tensor1d(advantages), options).dataSync(),
  ]);
}

/** Losses of columns of equal lengths, and the gradient by each log-probability. */
function lossOf(
  logProb: readonly number[],
  advantage: readonly number[],
  options: SurrogateOptions = CLIP,
  mask?: readonly number[],
) {
  return tf.tidy(() => {
    const of = (x: tf.Tensor) =>
      policyLoss({
        logProb: x,
        oldLogProb: tf.zerosLike(x),
        advantage: tf.tensor1d([...advantage]),
        over: { mask: mask && tf.tensor1d([...mask]) },
      }, options);
    const x = tf.tensor1d([...logProb]);
    const { loss, approxKl, clipFraction } = of(x);
    return {
      loss: loss.dataSync()[0],
      approxKl: approxKl.dataSync()[0],
      clipFraction: clipFraction.dataSync()[0],
      gradient: [...tf.grad((y) => of(y).loss)(x).dataSync()],
    };
  });
}

function assertClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-6) {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) =>
    assert.ok(
      Math.abs(x - expected[i]) <= tolerance * (1 + Math.abs(expected[i])),
      `[${i}]: ${x} is not ${expected[i]}`,
    )
  );
}

Deno.test("clippedSurrogate() clips apart below and above 1", () => {
  const options = { clipRange: 0.1, clipRangeHigh: 0.5 };
  // Up to 1.5 a good sample may still grow; a bad one may shrink to 0.9 only.
  assertClose(surrogate([1.4, 1.6, 0.95, 0.5], [1, 1, -1, -1], options), [1.4, 1.5, -0.95, -0.9]);
});

Deno.test("clippedSurrogate() with a dual clip bounds what a bad sample costs, and nothing else", () => {
  const ratios = [10, 10, 2, 0.1, 1], advantages = [-2, 2, -2, -2, -2];
  assertClose(surrogate(ratios, advantages, CLIP), [-20, 2.4, -4, -1.6, -2]);
  const bounded = surrogate(ratios, advantages, { ...CLIP, dualClip: 3 });
  assertClose(bounded, [-6, 2.4, -4, -1.6, -2]);
  assert.throws(() => surrogate([1], [1], { ...CLIP, dualClip: 0.5 }), /RangeError: .*0.5/);
});

Deno.test("policyLoss() has no gradient where the dual clip holds", () => {
  const { gradient } = lossOf([Math.log(10), 0], [-2, -2], { ...CLIP, dualClip: 3 });
  assertClose(gradient, [0, 1]);
});

const logRatio = fc.float({ min: -1, max: 1, noNaN: true });
const advantage = fc.float({ min: -3, max: 3, noNaN: true });
const pairs = fc.array(fc.tuple(logRatio, advantage), { minLength: 1, maxLength: 8 });
const anyOptions = fc.record({
  clipRange: fc.constantFrom(0.1, 0.2),
  clipRangeHigh: fc.constantFrom(0.2, 0.28),
  dualClip: fc.constantFrom(0, 3),
});

Deno.test("policyLoss() at ratio 1 is −mean A with the gradient of the policy gradient, −A / B", () => {
  fc.assert(
    fc.property(fc.array(advantage, { minLength: 1, maxLength: 8 }), anyOptions, (a, options) => {
      const { loss, gradient, approxKl, clipFraction } = lossOf(a.map(() => 0), a, options);
      assertClose([loss], [-a.reduce((x, y) => x + y, 0) / a.length]);
      assertClose(gradient, a.map((x) => -x / a.length));
      assert.deepEqual([approxKl, clipFraction], [0, 0]);
    }),
    { numRuns: 40, seed: 1 },
  );
});

Deno.test("policyLoss() has no gradient where everything clips", () => {
  fc.assert(
    fc.property(pairs, anyOptions, (all, options) => {
      // Past the range on the side that the advantage pushes to.
      const logProb = all.map(([x, a]) => (a >= 0 ? 1 : -1) * (0.3 + Math.abs(x)));
      const { gradient, clipFraction } = lossOf(logProb, all.map(([, a]) => a), options);
      // Products with the least of float32's numbers round to themselves, clipped or not.
      assert.ok(gradient.every((g) => Math.abs(g) < 1e-40), gradient.join());
      assert.equal(clipFraction, 1);
    }),
    { numRuns: 40, seed: 2 },
  );
});

Deno.test("policyLoss() does not mind the order of the samples", () => {
  fc.assert(
    fc.property(pairs, fc.nat(), anyOptions, (all, shift, options) => {
      const turned = all.map((_, i) => all[(i + shift) % all.length]);
      const [a, b] = [all, turned].map((list) =>
        lossOf(list.map(([x]) => x), list.map(([, y]) => y), options)
      );
      assertClose([a.loss, a.approxKl], [b.loss, b.approxKl], 1e-5);
      assertClose(b.gradient, all.map((_, i) => a.gradient[(i + shift) % all.length]), 1e-5);
    }),
    { numRuns: 40, seed: 3 },
  );
});

Deno.test("policyLoss() with a mask is that of what is left, and 0 if nothing is", () => {
  fc.assert(
    fc.property(pairs, fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), (all, keep) => {
      const left = all.filter((_, i) => keep[i]);
      const mask = all.map((_, i) => (keep[i] ? 1 : 0));
      const masked = lossOf(all.map(([x]) => x), all.map(([, a]) => a), CLIP, mask);
      if (left.length === 0) {
        assert.equal(Math.abs(masked.loss), 0);
        assert.ok(masked.gradient.every((g) => Math.abs(g) === 0));
        return;
      }
      const removed = lossOf(left.map(([x]) => x), left.map(([, a]) => a));
      for (const name of ["loss", "approxKl", "clipFraction"] as const) {
        assertClose([masked[name]], [removed[name]], 1e-5);
      }
      assertClose(masked.gradient.filter((_, i) => keep[i]), removed.gradient, 1e-5);
      assert.ok(masked.gradient.every((g, i) => keep[i] || Math.abs(g) === 0));
    }),
    { numRuns: 40, seed: 4 },
  );
});

Deno.test("policyLoss() is finite, gradient too, for log-ratios beyond all measure", () => {
  const extreme = fc.constantFrom(-1e30, -500, -20.5, 0, 20.5, 500, 1e30);
  fc.assert(
    fc.property(fc.array(fc.tuple(extreme, advantage), { minLength: 1 }), anyOptions, (all, o) => {
      const { loss, approxKl, gradient } = lossOf(all.map(([x]) => x), all.map(([, a]) => a), o);
      assert.ok([loss, approxKl, ...gradient].every(Number.isFinite));
    }),
    { numRuns: 40, seed: 5 },
  );
});
