import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { countTensors, take } from "../policy/testing.ts";
import { multiplyByWeight } from "./linear_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("products with weights");

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** x · w, dy · wᵀ and xᵀ · dy in float64. */
function reference(x: Float32Array, w: Float32Array, dy: Float32Array, k: number) {
  const n = w.length / k;
  const rows = x.length / k;
  const [y, dx, dw] = [rows * n, rows * k, k * n].map((size) => new Float64Array(size));
  for (let i = 0; i < rows; i++) {
    for (let a = 0; a < k; a++) {
      for (let b = 0; b < n; b++) {
        y[i * n + b] += x[i * k + a] * w[a * n + b];
        dx[i * k + a] += dy[i * n + b] * w[a * n + b];
        dw[a * n + b] += x[i * k + a] * dy[i * n + b];
      }
    }
  }
  return [y, dx, dw];
}

for (const device of DEVICES) {
  Deno.test(`multiplyByWeight() and its gradients on ${device} match float64`, async () => {
    await useDevice(device);
    const before = countTensors();
    for (
      const [shape, columns] of [[[1], 1], [[3], 5], [[1, 1, 64], 7], [[2, 9, 5, 6], 33]] as const
    ) {
      const k = shape[shape.length - 1];
      const outShape = [...shape.slice(0, -1), columns];
      const [x, w] = [drawn(1, product(shape)), drawn(2, k * columns)];
      const dy = drawn(3, product(outShape));
      const run = (x: tf.Tensor, w: tf.Tensor) => multiplyByWeight(x, w as tf.Tensor2D);
      const tensors = tf.tidy(() => {
        const inputs = [tf.tensor(x, [...shape]), tf.tensor(w, [k, columns])];
        return [
          run(inputs[0], inputs[1]),
          ...tf.grads(run)(inputs, tf.tensor(dy, outShape)),
        ];
      });
      assert.deepEqual(tensors.map((t) => t.shape), [outShape, [...shape], [k, columns]]);
      const found = await Promise.all(tensors.map(take));
      reference(x, w, dy, k).forEach((expected, i) => {
        assert.ok(relativeError(found[i], expected) < 2e-6, `${i} of [${shape}] by ${columns}`);
      });
    }
    assert.equal(countTensors(), before);
  });
}

Deno.test("multiplyByWeight() sees a variable's new values on wasm", async () => {
  await useDevice("wasm");
  const w = tf.variable(tf.ones([3, 2]));
  const x = tf.ones([2, 1, 3]);
  assert.deepEqual([...await take(multiplyByWeight(x, w as tf.Tensor2D))], [3, 3, 3, 3]);
  tf.tidy(() => w.assign(tf.fill([3, 2], 2)));
  assert.deepEqual([...await take(multiplyByWeight(x, w as tf.Tensor2D))], [6, 6, 6, 6]);
  tf.dispose([w, x]);
});

Deno.test("multiplyByWeight() refuses a weight that does not fit", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    assert.throws(() => multiplyByWeight(tf.zeros([2, 4]), tf.zeros([5, 3])), {
      name: "RangeError",
      message:
        "Cannot multiply [2,4] by a weight of [5,3]: the last axis of the input must be the " +
        "first of the weight's two",
    });
    assert.throws(
      () => multiplyByWeight(tf.zeros([2, 4]), tf.zeros([4, 3, 1]) as never),
      RangeError,
    );
  });
});
