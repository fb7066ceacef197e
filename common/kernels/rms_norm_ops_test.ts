import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { countTensors, take } from "../policy/testing.ts";
import { rmsNorm } from "./rms_norm_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("RMSNorm");
const EPSILON = 1e-6;

/**
 * One row, one column, odd rows, widths that no vector divides, many rows, wide rows, and more rows and
 * columns than a GPU has workgroups along one axis.
 */
const SHAPES = [
  [1, 1],
  [1, 5],
  [7, 3],
  [3, 4, 31],
  [2, 64],
  [5, 130],
  [300, 33],
  [3, 2048],
  [66_001, 2],
  [1, 66_001],
];

/** The same of tfjs's own operations. */
function composed(x: tf.Tensor, scale: tf.Tensor): tf.Tensor {
  const meanSquare = tf.mean(tf.square(x), -1, true);
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, EPSILON))), tf.add(scale, 1));
}

async function outputsOf(
  shape: readonly number[],
  run: (x: tf.Tensor, scale: tf.Tensor) => tf.Tensor,
): Promise<Float32Array[]> {
  const size = shape.reduce((a, b) => a * b, 1);
  const width = shape[shape.length - 1];
  const tensors = tf.tidy(() => {
    const x = tf.tensor(drawn(1, size), [...shape]);
    const scale = tf.tensor(drawn(2, width), [width]);
    const dy = tf.tensor(drawn(3, size), [...shape]);
    return [run(x, scale), ...tf.grads(run)([x, scale], dy)];
  });
  return await Promise.all(tensors.map(take));
}

const PARTS = ["output", "gradient of x", "gradient of scale"];

for (const device of DEVICES) {
  Deno.test(`rmsNorm() and its gradients on ${device} match tfjs's own operations and the cpu`, async () => {
    for (const shape of SHAPES) {
      await useDevice("cpu");
      const expected = await outputsOf(shape, composed);
      const reference = await outputsOf(shape, (x, scale) => rmsNorm(x, scale, EPSILON));
      await useDevice(device);
      const before = countTensors();
      const found = await outputsOf(shape, (x, scale) => rmsNorm(x, scale, EPSILON));
      PARTS.forEach((part, i) => {
        const what = `${part} of [${shape}]`;
        // A single number is normalised to ±1: its gradient is a difference of equal numbers.
        if (shape[shape.length - 1] === 1 && i === 1) return;
        assert.ok(relativeError(found[i], expected[i]) < 1e-4, what);
        assert.ok(relativeError(found[i], reference[i]) < 2e-5, what);
      });
      assert.equal(countTensors(), before);
    }
  });

  Deno.test(`rmsNorm() on ${device} passes on what is not finite, and rows of 0`, async () => {
    await useDevice(device);
    const scale = tf.zeros([5]);
    const x = tf.tensor2d([[1, 2, NaN, 4, 5], [0, 0, 0, 0, 0], [3, 3, 3, 3, 3]]);
    const y = await take(rmsNorm(x, scale, EPSILON));
    assert.ok(y.subarray(0, 5).every(Number.isNaN));
    assert.deepEqual([...y.subarray(5, 10)], [0, 0, 0, 0, 0]);
    assert.ok(relativeError(y.subarray(10), [1, 1, 1, 1, 1]) < 1e-6);
    tf.dispose([x, scale]);
  });
}

Deno.test("rmsNorm() has the gradients that finite differences have", async () => {
  await useDevice("cpu");
  const [x, scale] = [drawn(4, 14), drawn(5, 7)];
  const loss = (x: tf.Tensor, scale: tf.Tensor) =>
    tf.sum(tf.square(tf.add(rmsNorm(x, scale, EPSILON), 0.3)));
  const at = (x: Float32Array, scale: Float32Array) =>
    tf.tidy(() => loss(tf.tensor2d(x, [2, 7]), tf.tensor1d(scale)).dataSync()[0]);
  const gradients = tf.tidy(() => tf.grads(loss)([tf.tensor2d(x, [2, 7]), tf.tensor1d(scale)]));
  const [dx, dScale] = await Promise.all(gradients.map(take));
  const moved = (values: Float32Array, i: number, step: number) =>
    values.map((value, j) => (j === i ? value + step : value));
  const step = 0.01;
  dx.forEach((slope, i) => {
    const found = (at(moved(x, i, step), scale) - at(moved(x, i, -step), scale)) / (2 * step);
    assert.ok(Math.abs(found - slope) < 2e-3 * Math.abs(slope) + 5e-3, `x ${i}: ${found} ${slope}`);
  });
  dScale.forEach((slope, i) => {
    const found = (at(x, moved(scale, i, step)) - at(x, moved(scale, i, -step))) / (2 * step);
    assert.ok(Math.abs(found - slope) < 2e-3 * Math.abs(slope) + 5e-3, `scale ${i}`);
  });
});

Deno.test("rmsNorm() refuses a scale of another length", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    assert.throws(() => rmsNorm(tf.zeros([2, 4]), tf.zeros([5]), EPSILON), {
      name: "RangeError",
      message: "Cannot normalise [2,4] with a scale of [5]: the scale must be a vector as long " +
        "as the last axis",
    });
    assert.throws(() => rmsNorm(tf.zeros([2, 4]), tf.zeros([1, 4]), EPSILON), RangeError);
  });
});
