import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import fc from "fast-check";
import { randomSource } from "../tokenizer/testing.ts";
import { useDevice } from "./backend.ts";
import { countTensors, maxDifference, take } from "./testing.ts";
import { registerWasmKernels } from "./wasm_kernels.ts";

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function fill(seed: number, shape: readonly number[]): Float32Array {
  const random = randomSource(seed);
  return Float32Array.from({ length: product(shape) }, () => 2 * random() - 1);
}

interface Case {
  readonly leadingA: readonly number[];
  readonly leadingB: readonly number[];
  readonly m: number;
  readonly k: number;
  readonly p: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** The definition, in float64. */
function reference(a: Float32Array, b: Float32Array, c: Case): Float64Array {
  const { m, k, p } = c;
  const batchA = product(c.leadingA);
  const batchB = product(c.leadingB);
  const batch = Math.max(batchA, batchB);
  const out = new Float64Array(batch * m * p);
  for (let n = 0; n < batch; n++) {
    const atA = batchA === 1 ? 0 : n * m * k;
    const atB = batchB === 1 ? 0 : n * k * p;
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < p; j++) {
        for (let l = 0; l < k; l++) {
          out[(n * m + i) * p + j] += a[atA + (c.transposeA ? l * m + i : i * k + l)] *
            b[atB + (c.transposeB ? j * k + l : l * p + j)];
        }
      }
    }
  }
  return out;
}

async function checkProduct(c: Case): Promise<void> {
  const { m, k, p, transposeA, transposeB } = c;
  const shapeA = [...c.leadingA, ...(transposeA ? [k, m] : [m, k])];
  const shapeB = [...c.leadingB, ...(transposeB ? [p, k] : [k, p])];
  const [a, b] = [fill(m, shapeA), fill(p + 100, shapeB)];
  const before = countTensors();
  const out = tf.tidy(() =>
    tf.matMul(tf.tensor(a, shapeA), tf.tensor(b, shapeB), transposeA, transposeB)
  );
  assert.deepEqual(out.shape, [
    ...tf.broadcast_util.assertAndGetBroadcastShape(
      [...c.leadingA],
      [...c.leadingB],
    ),
    m,
    p,
  ]);
  assert.ok(maxDifference(await take(out), reference(a, b, c)) < 1e-4, JSON.stringify(c));
  assert.equal(countTensors(), before);
}

const size = fc.integer({ min: 1, max: 19 });

Deno.test("BatchMatMul on wasm equals a plain product for any shape", async () => {
  await useDevice("wasm");
  const batch = fc.integer({ min: 1, max: 5 });
  const leading = fc.oneof(
    batch.map((n) => [[n], [n]]),
    batch.map((n) => [[1], [n]]),
    batch.map((n) => [[n], [1]]),
    fc.tuple(batch, batch).map((l) => [l, l]),
    batch.map((n) => [[1, 1], [2, n]]),
    fc.constant([[], []]),
    fc.constant([[3], []]),
  );
  const cases = fc.record({
    leading,
    m: size,
    k: size,
    p: size,
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
  }).map(({ leading: [leadingA, leadingB], ...rest }) => ({ leadingA, leadingB, ...rest }));
  await fc.assert(fc.asyncProperty(cases, checkProduct), { numRuns: 150, seed: 1 });
});

Deno.test("BatchMatMul on wasm equals a plain product for the attention's shapes", async () => {
  await useDevice("wasm");
  for (const [n, m, k, p] of [[8, 140, 16, 35], [8, 140, 35, 16], [1, 257, 65, 129]]) {
    for (const transposeB of [false, true]) {
      await checkProduct({ leadingA: [n], leadingB: [n], m, k, p, transposeA: false, transposeB });
    }
  }
});

Deno.test("BatchMatMul on wasm equals a plain product where a cache does not hold an operand", async () => {
  await useDevice("wasm");
  const one = { leadingA: [1], leadingB: [1], transposeA: false, transposeB: false };
  await checkProduct({ ...one, m: 5, k: 520, p: 510 });
  await checkProduct({ ...one, m: 5, k: 520, p: 510, transposeB: true });
  await checkProduct({ ...one, m: 1, k: 260, p: 140 });
  await checkProduct({ ...one, m: 520, k: 3, p: 510, transposeA: true });
  await checkProduct({ ...one, m: 9, k: 700, p: 11, transposeA: true });
  await checkProduct({ ...one, leadingA: [2], leadingB: [2], m: 4, k: 520, p: 510 });
});

Deno.test("BatchMatMul on wasm sees a variable's new values after it was assigned", async () => {
  await useDevice("wasm");
  using weight = disposable(tf.variable(tf.ones([3, 3])));
  using x = disposable(tf.ones([2, 3]));
  assert.deepEqual([...await take(tf.matMul(x.value, weight.value))], [3, 3, 3, 3, 3, 3]);
  tf.tidy(() => (weight.value as tf.Variable).assign(tf.fill([3, 3], 2)));
  assert.deepEqual([...await take(tf.matMul(x.value, weight.value))], [6, 6, 6, 6, 6, 6]);
});

Deno.test("BatchMatMul on wasm sees new values of a weight that XNNPACK has packed", async () => {
  await useDevice("wasm");
  using weight = disposable(tf.variable(tf.ones([256, 256])));
  using x = disposable(tf.ones([1, 256]));
  assert.equal((await take(tf.matMul(x.value, weight.value)))[0], 256);
  tf.tidy(() => (weight.value as tf.Variable).assign(tf.fill([256, 256], 2)));
  assert.equal((await take(tf.matMul(x.value, weight.value)))[0], 512);
});

Deno.test("BatchMatMul on wasm refuses shapes and types that it cannot multiply", async () => {
  await useDevice("wasm");
  const multiply = (a: number[], b: number[], dtype: "float32" | "int32" = "float32") => () =>
    tf.tidy(() => tf.matMul(tf.zeros(a, dtype), tf.zeros(b, dtype)));
  assert.throws(multiply([2, 3], [4, 5]), {
    name: "RangeError",
    message: "Cannot multiply [2,3] by [4,5]: inner axes are 3 and 4; they must be equal, and " +
      "leading axes must agree or be all 1 on one side",
  });
  assert.throws(multiply([2, 1, 3, 3], [1, 2, 3, 3]), /leading axes must agree/);
  assert.throws(multiply([3, 3], [3, 3], "int32"), {
    name: "TypeError",
    message: "Cannot multiply int32 by int32 on wasm: cast both to float32",
  });
});

Deno.test("gradients of matMul() on wasm equal those on cpu", async () => {
  const gradients = async (device: "cpu" | "wasm", transposeA: boolean, transposeB: boolean) => {
    await useDevice(device);
    const grads = tf.tidy(() => {
      const shapeA = transposeA ? [2, 5, 3] : [2, 3, 5];
      const shapeB = transposeB ? [2, 7, 5] : [2, 5, 7];
      const weights = tf.tensor(fill(9, [2, 3, 7]), [2, 3, 7]);
      return tf.grads((a, b) => tf.sum(tf.mul(tf.matMul(a, b, transposeA, transposeB), weights)))([
        tf.tensor(fill(1, shapeA), shapeA),
        tf.tensor(fill(2, shapeB), shapeB),
      ]);
    });
    return [...await take(grads[0]), ...await take(grads[1])];
  };
  for (const a of [false, true]) {
    for (const b of [false, true]) {
      assert.ok(maxDifference(await gradients("wasm", a, b), await gradients("cpu", a, b)) < 1e-5);
    }
  }
});

Deno.test("UnsortedSegmentSum on wasm sums the rows of each segment", async () => {
  await useDevice("wasm");
  const rows = fc.integer({ min: 1, max: 12 });
  await fc.assert(
    fc.asyncProperty(rows, rows, size, async (n, segments, width) => {
      const x = fill(n, [n, width]);
      const random = randomSource(width);
      const ids = Int32Array.from({ length: n }, () => Math.floor(segments * random()));
      const before = countTensors();
      const out = tf.tidy(() =>
        tf.unsortedSegmentSum(tf.tensor2d(x, [n, width]), tf.tensor1d(ids, "int32"), segments)
      );
      const expected = new Float64Array(segments * width);
      x.forEach((value, i) => (expected[ids[Math.floor(i / width)] * width + i % width] += value));
      assert.ok(maxDifference(await take(out), expected) < 1e-5);
      assert.equal(countTensors(), before);
    }),
    { numRuns: 30, seed: 1 },
  );
});

Deno.test("gather() has a gradient on wasm", async () => {
  await useDevice("wasm");
  const before = countTensors();
  const gradient = tf.tidy(() =>
    tf.grad((table) => {
      const rows = tf.gather(table, tf.tensor1d([2, 0, 2], "int32"));
      return tf.sum(tf.mul(rows, tf.tensor2d([[1], [10], [100]])));
    })(tf.zeros([4, 2]))
  );
  assert.deepEqual([...await take(gradient)], [10, 10, 0, 0, 101, 101, 0, 0]);
  assert.equal(countTensors(), before);
});

Deno.test("gather() on wasm takes rows, along other axes too", async () => {
  await useDevice("wasm");
  const values = fill(3, [4, 3, 2]);
  const before = countTensors();
  for (const axis of [0, 1]) {
    const gathered = async (device: "cpu" | "wasm") => {
      await useDevice(device);
      return await take(
        tf.tidy(() =>
          tf.gather(
            tf.tensor(values, [4, 3, 2]),
            tf.tensor2d([[2, 0], [2, 1]], [2, 2], "int32"),
            axis,
          )
        ),
      );
    };
    assert.deepEqual(await gathered("wasm"), await gathered("cpu"));
  }
  await useDevice("wasm");
  assert.deepEqual(
    [...await take(tf.tidy(() => tf.gather(tf.tensor1d([5, 6, 7]), tf.tensor1d([2, 0], "int32"))))],
    [7, 5],
  );
  tf.tidy(() => {
    assert.throws(() => tf.gather(tf.zeros([4, 2]), tf.tensor1d([0, 4], "int32")), {
      name: "RangeError",
      message: "Cannot gather row 4 of a tensor that has 4",
    });
  });
  assert.equal(countTensors(), before);
});

Deno.test("clone() on wasm shares values, which live as long as either tensor", async () => {
  await useDevice("wasm");
  const { numBytes } = tf.memory();
  const before = countTensors();
  const first = tf.tensor1d([1, 2, 3]);
  const second = first.clone();
  const sum = tf.add(second, 1);
  first.dispose();
  assert.deepEqual([...await take(second)], [1, 2, 3]);
  assert.deepEqual([...await take(sum)], [2, 3, 4]);
  const variable = tf.tidy(() => tf.variable(tf.ones([2])));
  const kept = tf.clone(variable);
  tf.tidy(() => variable.assign(tf.zeros([2])));
  assert.deepEqual([...await take(kept)], [1, 1]);
  variable.dispose();
  assert.equal(countTensors(), before);
  assert.equal(tf.memory().numBytes, numBytes);
});

Deno.test("registerWasmKernels() may be called again", async () => {
  await useDevice("wasm");
  registerWasmKernels();
  assert.deepEqual([...await take(tf.matMul([[1, 2]], [[3], [4]]))], [11]);
});

function disposable<T extends tf.Tensor>(value: T): { readonly value: T } & Disposable {
  return { value, [Symbol.dispose]: () => value.dispose() };
}
