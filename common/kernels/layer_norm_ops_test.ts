import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { countTensors, take } from "../policy/testing.ts";
import { layerNorm } from "./layer_norm_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("LayerNorm");
const EPSILON = 1e-6;

/**
 * One row, one column, odd rows, widths that no vector divides, many rows, wide rows, and more rows
 * than a GPU has workgroups along one axis.
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
  [66_001, 5],
];

/** The same of tfjs's own operations. */
function composed(x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor): tf.Tensor {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centred), -1, true);
  return tf.add(tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, EPSILON))), scale), bias);
}

const fused = (x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor) =>
  layerNorm(x, scale, bias, EPSILON);

async function outputsOf(
  shape: readonly number[],
  run: typeof composed,
): Promise<Float32Array[]> {
  const size = shape.reduce((a, b) => a * b, 1);
  const width = shape[shape.length - 1];
  const tensors = tf.tidy(() => {
    // Far from 0, where a variance of uncentred numbers would be wrong.
    const x = tf.tensor(drawn(1, size).map((value) => value + 20), [...shape]);
    const [scale, bias] = [2, 3].map((seed) => tf.tensor(drawn(seed, width), [width]));
    const dy = tf.tensor(drawn(4, size), [...shape]);
    return [run(x, scale, bias), ...tf.grads(run)([x, scale, bias], dy)];
  });
  return await Promise.all(tensors.map(take));
}

const PARTS = ["output", "gradient of x", "gradient of scale", "gradient of bias"];

for (const device of DEVICES) {
  Deno.test(`layerNorm() and its gradients on ${device} match tfjs's own operations and the cpu`, async () => {
    for (const shape of SHAPES) {
      await useDevice("cpu");
      const expected = await outputsOf(shape, composed);
      const reference = await outputsOf(shape, fused);
      await useDevice(device);
      const before = countTensors();
      const found = await outputsOf(shape, fused);
      PARTS.forEach((part, i) => {
        const what = `${part} of [${shape}]`;
        // A single number is its own mean: nothing but rounding is left of the gradients.
        if (shape[shape.length - 1] === 1 && (i === 1 || i === 2)) return;
        assert.ok(relativeError(found[i], expected[i]) < 2e-4, what);
        assert.ok(relativeError(found[i], reference[i]) < 1e-4, what);
      });
      assert.equal(countTensors(), before);
    }
  });

  Deno.test(`layerNorm() on ${device} passes on what is not finite, and rows of equal numbers`, async () => {
    await useDevice(device);
    const [scale, bias] = [tf.ones([5]), tf.fill([5], 2)];
    const x = tf.tensor2d([[1, 2, NaN, 4, 5], [3, 3, 3, 3, 3]]);
    const y = await take(layerNorm(x, scale, bias, EPSILON));
    assert.ok(y.subarray(0, 5).every(Number.isNaN));
    assert.deepEqual([...y.subarray(5)], [2, 2, 2, 2, 2]);
    tf.dispose([x, scale, bias]);
  });
}

Deno.test("layerNorm() has the gradients that finite differences have", async () => {
  await useDevice("cpu");
  const [x, scale] = [drawn(4, 14), drawn(5, 7)];
  const loss = (x: tf.Tensor, scale: tf.Tensor) =>
    tf.sum(tf.square(layerNorm(x, scale, tf.fill([7], 0.3), EPSILON)));
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

Deno.test("layerNorm() refuses a scale or a bias of another length", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    const [four, five] = [tf.zeros([4]), tf.zeros([5])];
    assert.throws(() => layerNorm(tf.zeros([2, 4]), five, four, EPSILON), {
      name: "RangeError",
      message:
        "Cannot normalise [2,4] with a scale of [5] and a bias of [4]: both must be vectors " +
        "as long as the last axis",
    });
    assert.throws(() => layerNorm(tf.zeros([2, 4]), four, five, EPSILON), RangeError);
  });
});
