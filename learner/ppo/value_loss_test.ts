import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { valueLoss, type ValueLossOptions } from "./value_loss.ts";

await tf.setBackend("cpu");

const SQUARED: ValueLossOptions = { valueClipRange: 0 };

/** Loss and gradient of values that began at 0. */
function lossOf(
  value: number[],
  valueTarget: number[],
  options: ValueLossOptions,
  mask?: number[],
) {
  return tf.tidy(() => {
    const of = (x: tf.Tensor) =>
      valueLoss({
        value: x as tf.Tensor1D,
        oldValue: tf.zerosLike(x) as tf.Tensor1D,
        valueTarget: tf.tensor1d(valueTarget),
        over: { mask: mask && tf.tensor1d(mask) },
      }, options);
    const x = tf.tensor1d(value);
    return { loss: of(x).dataSync()[0], gradient: [...tf.grad(of)(x).dataSync()] };
  });
}

function assertClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-6) {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) =>
    assert.ok(Math.abs(x - expected[i]) <= tolerance, `[${i}]: ${x} is not ${expected[i]}`)
  );
}

Deno.test("valueLoss() squared is half the mean square", () => {
  const { loss, gradient } = lossOf([1, 3], [0, 5], SQUARED);
  assertClose([loss, ...gradient], [(1 + 4) / 4, 0.5, -1]);
});

Deno.test("valueLoss() by Huber is squared up to δ and pulls no harder than δ beyond", () => {
  const huber = { ...SQUARED, valueLoss: "huber", huberDelta: 2 } as const;
  // e = 1: ½. e = −10: 2·(10 − 1) = 18. e = 0: 0, without a gradient.
  const { loss, gradient } = lossOf([1, -10, 0], [0, 0, 0], huber);
  assertClose([loss, ...gradient], [18.5 / 3, 1 / 3, -2 / 3, 0]);
  const wide = { ...huber, huberDelta: 1e6 };
  assertClose([lossOf([1, -10], [0, 0], wide).loss], [lossOf([1, -10], [0, 0], SQUARED).loss]);
});

Deno.test("valueLoss() by Huber clips the change of values too", () => {
  const options = { valueClipRange: 0.5, valueLoss: "huber", huberDelta: 1 } as const;
  // 2 is right, but a change of 0.5 alone would have been allowed: e = 1.5, so 1.5 − ½ = 1.
  assertClose([lossOf([2], [2], options).loss], [1]);
  assertClose(lossOf([2], [2], options).gradient, [0]);
});

Deno.test("valueLoss() with a mask is that of what is left", () => {
  const masked = lossOf([1, 7, 3], [0, 0, 5], SQUARED, [1, 0, 1]);
  const removed = lossOf([1, 3], [0, 5], SQUARED);
  assertClose([masked.loss, ...masked.gradient], [removed.loss, 0.5, 0, -1]);
});

Deno.test("valueLoss() refuses a δ that is not above 0", () => {
  const options = { ...SQUARED, valueLoss: "huber", huberDelta: 0 } as const;
  assert.throws(() => lossOf([1], [0], options), /RangeError: .*δ is 0/);
});
