import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { countTensors, take } from "../policy/testing.ts";
import { packMatrices, unpackRows } from "../quant/packed_matrix.ts";
import { type Bits, quantizeTensor } from "../quant/quantized_tensor.ts";
import { gatedMlp, type MlpWeights } from "./gated_mlp_ops.ts";
import { QuantizedMatrix } from "./quantized_matrix.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("the gated MLP");

interface Shape {
  readonly x: readonly number[];
  readonly hidden: number;
  readonly out: number;
}

/** One row, few and many, odd widths, tails of groups, an output of another width. */
const SHAPES: readonly Shape[] = [
  { x: [1, 1], hidden: 1, out: 1 },
  { x: [1, 1, 64], hidden: 192, out: 64 },
  { x: [3, 31], hidden: 33, out: 7 },
  { x: [2, 5, 40], hidden: 97, out: 40 },
  { x: [8, 32], hidden: 130, out: 3 },
  { x: [41, 65], hidden: 70, out: 66 },
];

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Rows `[rows, columns]` in few bits, packed, and what they are worth. */
function quantized(bits: Bits, rows: number, columns: number, seed: number) {
  const layout = {
    outer: rows,
    contraction: columns,
    inner: 1,
    outerAxes: 1,
    contractionAxes: 1,
  };
  // As weights are drawn: what comes out of a product is as large as what went in.
  const data = drawn(seed, rows * columns).map((value) => value / Math.sqrt(columns));
  const tensor = { name: "w", shape: [rows, columns], data };
  const matrix = packMatrices(quantizeTensor(tensor, layout, bits), 0, rows);
  const values = new Float32Array(rows * columns);
  unpackRows(matrix, 0, rows, values);
  return { matrix, values };
}

/** The three matrices of a shape: in few bits, and transposed in float32. */
function matricesOf({ x, hidden, out }: Shape, bits: Bits) {
  const width = x[x.length - 1];
  return {
    gate: quantized(bits, hidden, width, 11),
    up: quantized(bits, hidden, width, 12),
    down: quantized(bits, out, hidden, 13),
  };
}

const gelu = (x: number) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const slope = (x: number) => (gelu(x + 1e-6) - gelu(x - 1e-6)) / 2e-6;

/** The output and the gradient of x, in float64. */
function reference(s: Shape, x: Float32Array, dy: Float32Array, m: ReturnType<typeof matricesOf>) {
  const width = s.x[s.x.length - 1];
  const rows = x.length / width;
  const times = (x: ArrayLike<number>, w: Float32Array, inner: number) => {
    const columns = w.length / inner;
    return Float64Array.from({ length: rows * columns }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < inner; k++) {
        sum += x[Math.floor(i / columns) * inner + k] * w[(i % columns) * inner + k];
      }
      return sum;
    });
  };
  const back = (dy: ArrayLike<number>, w: Float32Array, inner: number) => {
    const columns = w.length / inner;
    return Float64Array.from({ length: rows * inner }, (_, i) => {
      let sum = 0;
      for (let n = 0; n < columns; n++) {
        sum += dy[Math.floor(i / inner) * columns + n] * w[n * inner + i % inner];
      }
      return sum;
    });
  };
  const gate = times(x, m.gate.values, width);
  const up = times(x, m.up.values, width);
  const y = times(gate.map((value, i) => gelu(value) * up[i]), m.down.values, s.hidden);
  const dHidden = back(dy, m.down.values, s.hidden);
  const dGate = back(dHidden.map((d, i) => d * up[i] * slope(gate[i])), m.gate.values, width);
  const dUp = back(dHidden.map((d, i) => d * gelu(gate[i])), m.up.values, width);
  return { y, dx: dGate.map((d, i) => d + dUp[i]) };
}

/** Weights for an operation, in few bits or in float32. */
function weightsOf(m: ReturnType<typeof matricesOf>, isQuantized: boolean): MlpWeights {
  const one = ({ matrix, values }: typeof m.gate) =>
    isQuantized
      ? new QuantizedMatrix(matrix)
      : tf.tidy(() => tf.transpose(tf.tensor2d(values, [matrix.rows, matrix.columns])));
  return { gate: one(m.gate), up: one(m.up), down: one(m.down) };
}

function free({ gate, up, down }: MlpWeights): void {
  for (const weight of [gate, up, down]) {
    if (weight instanceof QuantizedMatrix) weight[Symbol.dispose]();
    else weight.dispose();
  }
}

for (const device of DEVICES) {
  for (const kind of ["float32", 8, 4] as const) {
    const title = kind === "float32" ? "float32" : `${kind} bits`;
    Deno.test(`gatedMlp() and its gradient on ${device}, ${title}, match float64`, async () => {
      await useDevice(device);
      const before = countTensors();
      for (const s of SHAPES) {
        const matrices = matricesOf(s, kind === "float32" ? 8 : kind);
        const weights = weightsOf(matrices, kind !== "float32");
        const x = drawn(1, product(s.x));
        const outShape = [...s.x.slice(0, -1), s.out];
        const dy = drawn(2, product(outShape));
        const run = (input: tf.Tensor) => gatedMlp(input, weights);
        const tensors = tf.tidy(() => {
          const input = tf.tensor(x, [...s.x]);
          return [run(input), tf.grad(run)(input, tf.tensor(dy, outShape))];
        });
        assert.deepEqual(tensors[0].shape, outShape);
        const [y, dx] = await Promise.all(tensors.map(take));
        const expected = reference(s, x, dy, matrices);
        const what = JSON.stringify(s);
        assert.ok(relativeError(y, expected.y) < 5e-6, `${what}: ${relativeError(y, expected.y)}`);
        assert.ok(relativeError(dx, expected.dx) < 5e-6, `${what}, gradient`);
        free(weights);
      }
      assert.equal(countTensors(), before);
    });
  }
}

Deno.test("gatedMlp() on webgpu takes more hidden numbers than one axis of workgroups", async () => {
  if (!DEVICES.includes("webgpu")) return;
  await useDevice("webgpu");
  const s = { x: [8, 3], hidden: 8_209, out: 2 };
  const matrices = matricesOf(s, 8);
  const weights = weightsOf(matrices, true);
  const x = drawn(1, 24);
  const { y } = reference(s, x, new Float32Array(16), matrices);
  const found = await take(tf.tidy(() => gatedMlp(tf.tensor2d(x, [8, 3]), weights)));
  assert.ok(relativeError(found, y) < 5e-6);
  free(weights);
});

Deno.test("gatedMlp() gives float32 weights their gradients on wasm", async () => {
  const s = { x: [5, 12], hidden: 21, out: 6 };
  const matrices = matricesOf(s, 8);
  const results: Float32Array[][] = [];
  for (const device of ["cpu", "wasm"] as const) {
    await useDevice(device);
    const weights = weightsOf(matrices, false) as unknown as Record<
      "gate" | "up" | "down",
      tf.Tensor
    >;
    const gradients = tf.tidy(() =>
      tf.grads((gate, up, down) =>
        tf.sum(tf.square(gatedMlp(tf.tensor2d(drawn(1, 60), [5, 12]), { gate, up, down })))
      )([weights.gate, weights.up, weights.down])
    );
    results.push(await Promise.all(gradients.map(take)));
    tf.dispose(weights);
  }
  results[0].forEach((expected, i) => assert.ok(relativeError(results[1][i], expected) < 1e-5));
});

Deno.test("gatedMlp() takes matrices in different bits, and some in float32", async () => {
  await useDevice("wasm");
  const s = SHAPES[3];
  const eight = matricesOf(s, 8);
  const matrices = { ...matricesOf(s, 4), up: eight.up };
  const [few, full] = [weightsOf(matrices, true), weightsOf(matrices, false)];
  const before = countTensors();
  const x = drawn(1, product(s.x));
  const { y } = reference(s, x, new Float32Array(product([2, 5, s.out])), matrices);
  for (const weights of [few, { ...few, down: full.down }, { ...full, gate: few.gate }]) {
    const found = await take(tf.tidy(() => gatedMlp(tf.tensor(x, [...s.x]), weights)));
    assert.ok(relativeError(found, y) < 5e-6);
  }
  assert.equal(countTensors(), before);
  free(few);
  free(full);
});

Deno.test("gatedMlp() refuses weights that do not fit", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    const [gate, up, down] = [tf.zeros([4, 6]), tf.zeros([4, 6]), tf.zeros([6, 4])];
    const refused = (x: number[], weights: MlpWeights) =>
      assert.throws(() => gatedMlp(tf.zeros(x), weights), RangeError);
    assert.throws(() => gatedMlp(tf.zeros([2, 5]), { gate, up, down }), {
      name: "RangeError",
      message: "Cannot run a gated MLP of 4 → 6, 4 → 6 and 6 → 4 over [2,5]: the first two must " +
        "take the last axis, and the third what they give",
    });
    refused([2, 4], { gate, up: tf.zeros([4, 5]), down });
    refused([2, 4], { gate, up, down: tf.zeros([5, 4]) });
  });
});

Deno.test("gatedMlp() computes the same with weights in parts, as a small binding splits them", async () => {
  await useDevice("cpu");
  const s: Shape = { x: [3, 31], hidden: 33, out: 7 };
  const matrices = matricesOf(s, 8);
  const whole = weightsOf(matrices, true);
  const split = { ...whole, up: new QuantizedMatrix(matrices.up.matrix, 400) };
  assert.ok(split.up.parts.length > 1);
  const x = tf.tensor2d(drawn(1, 3 * 31), [3, 31]);
  const [a, b] = [whole, split].map((weights) => (input: tf.Tensor) => gatedMlp(input, weights));
  const expected = Float64Array.from(await take(a(x)));
  assert.ok(relativeError(await take(tf.tidy(() => b(x))), expected) < 1e-6);
  const slope = Float64Array.from(await take(tf.grad(a)(x)));
  assert.ok(relativeError(await take(tf.grad(b)(x)), slope) < 1e-6);
  split.up[Symbol.dispose]();
  free(whole);
  x.dispose();
});
