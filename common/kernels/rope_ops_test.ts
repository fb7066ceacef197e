import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { countTensors, take } from "../policy/testing.ts";
import { rotate } from "./rope_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("the rotary embedding");

interface Shape {
  readonly batch: number;
  readonly steps: number;
  readonly heads: number;
  readonly width: number;
}

/** One pair, halves that no vector divides, one head and many. */
const SHAPES: readonly Shape[] = [
  { batch: 1, steps: 1, heads: 1, width: 2 },
  { batch: 1, steps: 3, heads: 2, width: 6 },
  { batch: 2, steps: 5, heads: 3, width: 10 },
  { batch: 3, steps: 1, heads: 4, width: 16 },
  { batch: 2, steps: 70, heads: 1, width: 62 },
  { batch: 1, steps: 9, heads: 8, width: 256 },
];

/** The definition in float64. */
function reference(
  { batch, steps, heads, width }: Shape,
  x: Float32Array,
  table: Float32Array,
  factor: number,
  sign: 1 | -1,
): Float64Array {
  const half = width / 2;
  const y = new Float64Array(x.length);
  for (let position = 0; position < batch * steps; position++) {
    for (let head = 0; head < heads; head++) {
      for (let j = 0; j < half; j++) {
        const at = (position * heads + head) * width + j;
        const cos = table[position * width + j];
        const sin = sign * table[position * width + half + j];
        y[at] = factor * (x[at] * cos - x[at + half] * sin);
        y[at + half] = factor * (x[at + half] * cos + x[at] * sin);
      }
    }
  }
  return y;
}

for (const device of DEVICES) {
  Deno.test(`rotate() and its gradient on ${device} match float64`, async () => {
    await useDevice(device);
    const before = countTensors();
    for (const s of SHAPES) {
      const { batch, steps, heads, width } = s;
      const x = drawn(1, batch * steps * heads * width);
      const dy = drawn(2, x.length);
      const angles = drawn(3, batch * steps * width); // any numbers do: it need not be a rotation
      for (const isFlat of [false, true]) {
        const shape = isFlat ? [batch, steps, heads * width] : [batch, steps, heads, width];
        const tensors = tf.tidy(() => {
          const table = tf.tensor3d(angles, [batch, steps, width]);
          const run = (x: tf.Tensor) => rotate(x, table, 0.25);
          return [
            run(tf.tensor(x, shape)),
            tf.grad(run)(tf.tensor(x, shape), tf.tensor(dy, shape)),
          ];
        });
        tensors.forEach((tensor) => assert.deepEqual(tensor.shape, shape));
        const [y, dx] = await Promise.all(tensors.map(take));
        const what = JSON.stringify({ ...s, isFlat });
        assert.ok(relativeError(y, reference(s, x, angles, 0.25, 1)) < 1e-6, what);
        assert.ok(relativeError(dx, reference(s, dy, angles, 0.25, -1)) < 1e-6, `${what} gradient`);
      }
    }
    assert.equal(countTensors(), before);
  });
}

Deno.test("rotate() has the gradient that finite differences have", async () => {
  await useDevice("cpu");
  const [x, angles] = [drawn(4, 12), drawn(5, 6)];
  const loss = (x: tf.Tensor) => tf.sum(tf.square(rotate(x, tf.tensor3d(angles, [1, 1, 6]), 0.5)));
  const at = (x: Float32Array) => tf.tidy(() => loss(tf.tensor3d(x, [1, 1, 12])).dataSync()[0]);
  const gradient = await take(tf.tidy(() => tf.grad(loss)(tf.tensor3d(x, [1, 1, 12]))));
  gradient.forEach((slope, i) => {
    const moved = (step: number) => x.map((value, j) => (j === i ? value + step : value));
    const found = (at(moved(0.01)) - at(moved(-0.01))) / 0.02;
    assert.ok(Math.abs(found - slope) < 2e-3 * Math.abs(slope) + 1e-3, `${i}: ${found} ${slope}`);
  });
});

Deno.test("rotate() refuses angles that do not fit", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    const refused = (x: number[], table: [number, number, number]) =>
      assert.throws(() => rotate(tf.zeros(x), tf.zeros(table) as tf.Tensor3D), {
        name: "RangeError",
        message: `Cannot rotate [${x}] by angles of [${table}]: the first two axes must be the ` +
          "same, and heads as wide as the angles' last axis, which must be even",
      });
    refused([2, 3, 8], [2, 4, 8]);
    refused([2, 3, 8], [1, 3, 8]);
    refused([2, 3, 8], [2, 3, 6]);
    refused([2, 3, 9], [2, 3, 3]);
  });
});
