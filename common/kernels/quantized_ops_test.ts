import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { countTensors, take } from "../policy/testing.ts";
import { type PackedMatrix, packMatrices, unpackRows } from "../quant/packed_matrix.ts";
import { type Bits, quantizeTensor } from "../quant/quantized_tensor.ts";
import { QuantizedMatrix } from "./quantized_matrix.ts";
import { quantizedMatMul, quantizedRows, type RowRange } from "./quantized_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("quantized kernels");
const BITS = [8, 4] as const;

/** Random weights `[rows, columns]`, packed, and what they are worth in float32. */
function packed(bits: Bits, rows: number, columns: number, seed = 7) {
  const layout = {
    outer: rows,
    contraction: columns,
    inner: 1,
    outerAxes: 1,
    contractionAxes: 1,
  };
  const tensor = { name: "w", shape: [rows, columns], data: drawn(seed, rows * columns) };
  const matrix = packMatrices(quantizeTensor(tensor, layout, bits), 0, rows);
  const values = new Float32Array(rows * columns);
  unpackRows(matrix, 0, rows, values);
  return { matrix, values };
}

interface Shape extends Partial<RowRange> {
  readonly m: number;
  readonly rows: number;
  readonly columns: number;
}

/** Odd rows, single rows and columns, tails of groups, odd numbers of groups, panels. */
const SHAPES: readonly Shape[] = [
  { m: 1, rows: 1, columns: 1 },
  { m: 1, rows: 5, columns: 31 },
  { m: 2, rows: 64, columns: 64 },
  { m: 3, rows: 7, columns: 97 },
  { m: 9, rows: 33, columns: 65 },
  { m: 17, rows: 3, columns: 200 },
  { m: 40, rows: 70, columns: 32 },
  { m: 1, rows: 90, columns: 64, firstRow: 13, rowCount: 40 },
  { m: 11, rows: 90, columns: 40, firstRow: 50, rowCount: 33 },
];

/** x · Wᵀ in float64, and dy · W. */
function references(s: Shape, x: Float32Array, dy: Float32Array, w: Float32Array) {
  const { m, columns, firstRow = 0, rowCount = s.rows } = s;
  const y = new Float64Array(m * rowCount);
  const dx = new Float64Array(m * columns);
  for (let i = 0; i < m; i++) {
    for (let n = 0; n < rowCount; n++) {
      for (let k = 0; k < columns; k++) {
        const weight = w[(firstRow + n) * columns + k];
        y[i * rowCount + n] += x[i * columns + k] * weight;
        dx[i * columns + k] += dy[i * rowCount + n] * weight;
      }
    }
  }
  return { y, dx };
}

for (const device of DEVICES) {
  for (const bits of BITS) {
    Deno.test(`quantizedMatMul() and its gradient on ${device}, ${bits} bits, match float64`, async () => {
      await useDevice(device);
      const before = countTensors();
      for (const s of SHAPES) {
        const { m, rows, columns, firstRow = 0, rowCount = rows } = s;
        const { matrix, values } = packed(bits, rows, columns);
        using w = new QuantizedMatrix(matrix);
        const [x, dy] = [drawn(1, m * columns), drawn(2, m * rowCount)];
        const expected = references(s, x, dy, values);
        const run = (input: tf.Tensor) =>
          quantizedMatMul(input as tf.Tensor2D, w, { firstRow, rowCount });
        const input = tf.tensor2d(x, [m, columns]);
        const output = tf.tensor2d(dy, [m, rowCount]);
        const name = JSON.stringify(s);
        const y = await take(run(input));
        assert.ok(relativeError(y, expected.y) < 2e-6, `${name}: ${relativeError(y, expected.y)}`);
        const dx = await take(tf.grad(run)(input, output));
        assert.ok(relativeError(dx, expected.dx) < 2e-6, `${name}, gradient`);
        tf.dispose([input, output]);
      }
      assert.equal(countTensors(), before);
    });

    Deno.test(`quantizedRows() on ${device}, ${bits} bits, gives rows in float32`, async () => {
      await useDevice(device);
      for (const columns of [1, 45, 64, 100]) {
        const { matrix, values } = packed(bits, 9, columns);
        using w = new QuantizedMatrix(matrix);
        const ids = [8, 0, 3, 3];
        const rows = await take(tf.tidy(() => quantizedRows(w, tf.tensor1d(ids, "int32"))));
        const expected = ids.flatMap((
          id,
        ) => [...values.subarray(id * columns, (id + 1) * columns)]);
        assert.deepEqual([...rows], expected);
      }
    });
  }
}

Deno.test("quantizedRows() on wasm reads scales below half precision's normal range as cpu does", async () => {
  const layout = { outer: 3, contraction: 96, inner: 1, outerAxes: 1, contractionAxes: 1 };
  for (const magnitude of [1e-7, 1e-5, 1e-3, 1e3]) {
    const data = drawn(4, 3 * 96).map((x) => magnitude * x);
    const tensor = quantizeTensor({ name: "w", shape: [3, 96], data }, layout, 8);
    const matrix = packMatrices(tensor, 0, 3);
    const results = [];
    for (const device of ["cpu", "wasm"] as const) {
      await useDevice(device);
      using w = new QuantizedMatrix(matrix);
      const rows = tf.tidy(() => quantizedRows(w, tf.tensor1d([2, 0, 1], "int32")));
      results.push(await take(rows));
    }
    assert.deepEqual(results[1], results[0]);
  }
});

Deno.test("quantizedMatMul() has the gradient that finite differences have", async () => {
  await useDevice("cpu");
  const { matrix } = packed(4, 6, 37);
  using w = new QuantizedMatrix(matrix);
  const x = drawn(3, 2 * 37);
  const loss = (input: tf.Tensor) => tf.sum(tf.square(quantizedMatMul(input as tf.Tensor2D, w)));
  const gradient = await take(tf.tidy(() => tf.grad(loss)(tf.tensor2d(x, [2, 37]))));
  for (const i of [0, 5, 36, 37, 73]) {
    const at = (step: number) => {
      const moved = x.slice();
      moved[i] += step;
      return tf.tidy(() => loss(tf.tensor2d(moved, [2, 37])).dataSync()[0]);
    };
    const slope = (at(0.05) - at(-0.05)) / 0.1;
    assert.ok(
      Math.abs(slope - gradient[i]) < 1e-3 * Math.abs(slope) + 1e-3,
      `${slope} ${gradient[i]}`,
    );
  }
});

Deno.test("quantizedMatMul() on wasm gives the same whether its panels are many or one", async () => {
  await useDevice("wasm");
  // 300 rows of 1200 are more than a panel of 2^18 numbers, on both axes.
  const s = { m: 6, rows: 300, columns: 1200 };
  const { matrix, values } = packed(8, s.rows, s.columns);
  using w = new QuantizedMatrix(matrix);
  const [x, dy] = [drawn(1, s.m * s.columns), drawn(2, s.m * s.rows)];
  const expected = references(s, x, dy, values);
  const input = tf.tensor2d(x, [s.m, s.columns]);
  const output = tf.tensor2d(dy, [s.m, s.rows]);
  const run = (v: tf.Tensor) => quantizedMatMul(v as tf.Tensor2D, w);
  assert.ok(relativeError(await take(run(input)), expected.y) < 2e-6);
  assert.ok(relativeError(await take(tf.grad(run)(input, output)), expected.dx) < 2e-6);
  tf.dispose([input, output]);
});

Deno.test("QuantizedMatrix takes other numbers in place, and refuses those of another size", async () => {
  await useDevice("cpu");
  const [first, second] = [packed(8, 4, 40), packed(8, 4, 40, 9)];
  using w = new QuantizedMatrix(first.matrix);
  const before = countTensors();
  w.assign(second.matrix);
  assert.equal(countTensors(), before);
  assert.deepEqual((await w.toHost()).words, second.matrix.words);
  assert.equal(w.bytes, 4 * (4 * 16 + 4));
  assert.throws(() => w.assign(packed(4, 4, 40).matrix), /Cannot assign 4×40 weights in 4 bits/);
  const short: PackedMatrix = { ...first.matrix, words: new Int32Array(3) };
  assert.throws(() => new QuantizedMatrix(short), /they take 64 words and 4 of scales, but have 3/);
});

for (const device of DEVICES) {
  Deno.test(`a QuantizedMatrix in parts computes what a whole one does on ${device}`, async () => {
    await useDevice(device);
    for (const bits of BITS) {
      const s = { m: 3, rows: 23, columns: 70 };
      const { matrix } = packed(bits, s.rows, s.columns);
      using whole = new QuantizedMatrix(matrix);
      // Parts of 6, 6, 6 and 5 rows: planBindings() makes them nearly equal.
      using split = new QuantizedMatrix(matrix, 4 * matrix.words.length * 7 / 23);
      assert.deepEqual(split.parts.map(({ rows }) => rows), [6, 6, 6, 5]);
      assert.equal(split.bytes, whole.bytes);
      assert.deepEqual(await split.toHost(), await whole.toHost());
      const input = tf.tensor2d(drawn(1, s.m * s.columns), [s.m, s.columns]);
      for (
        const range of [undefined, { firstRow: 4, rowCount: 15 }, { firstRow: 7, rowCount: 2 }]
      ) {
        const [a, b] = [whole, split].map((w) => (x: tf.Tensor) =>
          quantizedMatMul(x as tf.Tensor2D, w, range)
        );
        const before = countTensors();
        const expected = Float64Array.from(await take(a(input)));
        assert.ok(relativeError(await take(tf.tidy(() => b(input))), expected) < 1e-6);
        const slope = Float64Array.from(await take(tf.grad(a)(input)));
        assert.ok(relativeError(await take(tf.grad(b)(input)), slope) < 1e-6);
        assert.equal(countTensors(), before);
      }
      const ids = tf.tensor1d([22, 0, 6, 5, 17, 18], "int32");
      const before = countTensors();
      const rows = await take(quantizedRows(split, ids));
      assert.deepEqual(rows, await take(quantizedRows(whole, ids)));
      assert.equal(countTensors(), before);
      split.assign(packed(bits, s.rows, s.columns, 9).matrix);
      assert.deepEqual(
        (await split.toHost()).words,
        packed(bits, s.rows, s.columns, 9).matrix.words,
      );
      tf.dispose([input, ids]);
    }
  });
}

Deno.test("QuantizedMatrix says so when not even a row fits a part", async () => {
  await useDevice("cpu");
  assert.throws(() => new QuantizedMatrix(packed(8, 4, 40).matrix, 60), {
    name: "RangeError",
    message: /do not fit one binding, which takes at most 60 bytes/,
  });
});

Deno.test("quantizedMatMul() refuses what does not fit", async () => {
  await useDevice("cpu");
  using w = new QuantizedMatrix(packed(8, 4, 40).matrix);
  tf.tidy(() => {
    assert.throws(() => quantizedMatMul(tf.zeros([2, 39]), w), {
      name: "RangeError",
      message: /of the input is 39, 40 is needed/,
    });
    const x = tf.zeros([2, 40]) as tf.Tensor2D;
    assert.throws(() => quantizedMatMul(x, w, { firstRow: 3, rowCount: 2 }), /they have 4/);
  });
});
