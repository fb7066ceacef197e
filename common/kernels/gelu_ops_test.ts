import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { countTensors, take } from "../policy/testing.ts";
import { gatedGelu, gelu } from "./gelu_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("gelu");

/** One number, fewer than a vector, no multiple of four, more than one axis, many. */
const SHAPES = [[1], [3], [2, 5], [1, 7, 9], [4, 16], [3, 333], [70, 191]];

/** The tanh form, in float64. */
const definition = (x: number) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
/** Its derivative by central differences, in float64. */
const slope = (x: number) => (definition(x + 1e-6) - definition(x - 1e-6)) / 2e-6;

for (const device of DEVICES) {
  Deno.test(`gelu(), gatedGelu() and their gradients on ${device} match float64`, async () => {
    await useDevice(device);
    const before = countTensors();
    for (const shape of SHAPES) {
      const size = shape.reduce((a, b) => a * b, 1);
      const [x, up, dy] = [1, 2, 3].map((seed) => drawn(seed, size).map((value) => 2 * value));
      const tensors = tf.tidy(() => {
        const [gateT, upT, dyT] = [x, up, dy].map((values) => tf.tensor(values, shape));
        return [
          gelu(gateT),
          tf.grad(gelu)(gateT, dyT),
          gatedGelu(gateT, upT),
          ...tf.grads(gatedGelu)([gateT, upT], dyT),
        ];
      });
      tensors.forEach((tensor) => assert.deepEqual(tensor.shape, shape));
      const found = await Promise.all(tensors.map(take));
      const gate = Float64Array.from(x);
      const expected = [
        gate.map(definition),
        gate.map((value, i) => dy[i] * slope(value)),
        gate.map((value, i) => up[i] * definition(value)),
        gate.map((value, i) => dy[i] * up[i] * slope(value)),
        gate.map((value, i) => dy[i] * definition(value)),
      ];
      const names = ["gelu", "its gradient", "gated", "gradient of gate", "gradient of up"];
      names.forEach((name, i) => {
        const error = relativeError(found[i], expected[i]);
        assert.ok(error < 2e-6, `${name} of [${shape}]: ${error}`);
      });
    }
    assert.equal(countTensors(), before);
  });

  Deno.test(`gelu() on ${device} holds far from 0, and passes on NaN`, async () => {
    await useDevice(device);
    const y = await take(
      tf.tidy(() => gelu(tf.tensor1d([-1e4, -50, -9, -1e-30, 0, 1e-30, 9, 50, 1e4, NaN, 3, 3]))),
    );
    const expected = [0, 0, definition(-9), -5e-31, 0, 5e-31, 9, 50, 1e4];
    expected.forEach((value, i) => {
      assert.ok(Math.abs(y[i] - value) <= 1e-6 * Math.abs(value) + 1e-12, `${i}: ${y[i]}`);
    });
    assert.ok(Number.isNaN(y[9]));
  });
}

Deno.test("gatedGelu() on wasm gives no numbers too small to be quick with", async () => {
  await useDevice("wasm");
  const gates = Float32Array.from({ length: 400 }, (_, i) => -i / 10);
  const tensors = tf.tidy(() => {
    const [gate, ones] = [tf.tensor1d(gates), tf.ones([400])];
    return [gatedGelu(gate, ones), ...tf.grads(gatedGelu)([gate, ones], ones)];
  });
  for (const values of await Promise.all(tensors.map(take))) {
    assert.ok(values.every((value) => value === 0 || Math.abs(value) > 1e-30));
  }
});

Deno.test("gelu() on webgpu takes more numbers than one axis of workgroups", async () => {
  if (!DEVICES.includes("webgpu")) return;
  await useDevice("webgpu");
  const size = 65_536 * 64 + 3;
  const y = await take(tf.tidy(() => gelu(tf.fill([size], 1.5))));
  const expected = definition(1.5);
  assert.ok(y.every((value) => Math.abs(value - expected) < 1e-6));
});

Deno.test("gatedGelu() refuses tensors of different shapes", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    assert.throws(() => gatedGelu(tf.zeros([2, 4]), tf.zeros([4, 2])), {
      name: "RangeError",
      message: "Cannot gate [4,2] with gelu of [2,4]: their shapes must be the same",
    });
  });
});
