import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import type { Tensor, Tensor3D, Tensor4D } from "../policy/tensors.ts";
import { countTensors, take } from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import { attention, writeCache } from "./attention_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("attention");
const MASKED = -2.3819763e38;

interface Shape {
  readonly batch: number;
  readonly places: number;
  readonly heads: number;
  readonly width: number;
  readonly capacity: number;
  readonly keys: number;
  /** Rows of the batch and places of the mask; absent: no mask. */
  readonly mask?: readonly [number, number];
}

/** One row, one key, odd widths, keys no multiple of 4, tiles that do not end evenly. */
const SHAPES: readonly Shape[] = [
  { batch: 1, places: 1, heads: 1, width: 1, capacity: 1, keys: 1 },
  { batch: 1, places: 1, heads: 4, width: 16, capacity: 40, keys: 23, mask: [1, 1] },
  { batch: 3, places: 1, heads: 4, width: 16, capacity: 9, keys: 9, mask: [3, 1] },
  { batch: 2, places: 5, heads: 3, width: 7, capacity: 14, keys: 13, mask: [2, 5] },
  { batch: 2, places: 9, heads: 1, width: 12, capacity: 33, keys: 1, mask: [1, 9] },
  { batch: 1, places: 70, heads: 2, width: 10, capacity: 300, keys: 299, mask: [1, 70] },
  { batch: 2, places: 6, heads: 8, width: 64, capacity: 20, keys: 17, mask: [2, 6] },
  { batch: 1, places: 3, heads: 2, width: 130, capacity: 70, keys: 70 },
];

/** Numbers of a case: about a third of the keys is masked, of the last place all. */
function numbersOf({ batch, places, heads, width, capacity, keys, mask = [1, 1] }: Shape) {
  const random = seededRandom(5);
  const added = Float32Array.from({ length: mask[0] * mask[1] * keys }, (_, i) => {
    const place = Math.floor(i / keys) % mask[1];
    const isMasked = places > 1 && place === mask[1] - 1 || random() < 0.3;
    return isMasked && i % keys > 0 ? MASKED : 0;
  });
  if (places > 1) added.fill(MASKED, added.length - keys);
  return {
    q: drawn(1, batch * places * heads * width),
    k: drawn(2, batch * capacity * width),
    v: drawn(3, batch * capacity * width),
    dy: drawn(4, batch * places * heads * width),
    added,
  };
}

/** The output and the gradients of q, k and v by some way of attending. */
async function results(
  shape: Shape,
  run: (q: Tensor4D, k: Tensor3D, v: Tensor3D, mask: Tensor3D | undefined) => Tensor,
  numbers = numbersOf(shape),
): Promise<Float32Array[]> {
  const { batch, places, heads, width, capacity, keys, mask } = shape;
  const tensors = tf.tidy(() => {
    const q = tf.tensor4d(numbers.q, [batch, places, heads, width]);
    const k = tf.tensor3d(numbers.k, [batch, capacity, width]);
    const v = tf.tensor3d(numbers.v, [batch, capacity, width]);
    const added = mask && tf.tensor3d(numbers.added, [mask[0], mask[1], keys]);
    const dy = tf.tensor4d(numbers.dy, [batch, places, heads, width]);
    const of = (...args: Tensor[]) =>
      run(args[0] as Tensor4D, args[1] as Tensor3D, args[2] as Tensor3D, added) as tf.Tensor;
    return [of(q, k, v), ...tf.grads(of)([q, k, v], dy)];
  });
  return await Promise.all(tensors.map(take));
}

const kernel = (shape: Shape) => (q: Tensor4D, k: Tensor3D, v: Tensor3D, mask?: Tensor3D) =>
  attention(q, k, v, { mask, keys: shape.keys });

/** The same by operations of tfjs. */
const composed =
  ({ batch, places, heads, width, keys }: Shape) =>
  (q: Tensor4D, k: Tensor3D, v: Tensor3D, mask?: Tensor3D) => {
    const used = (x: Tensor3D) => tf.slice(x, [0, 0, 0], [-1, keys, -1]) as Tensor3D;
    const rows = tf.reshape(q, [batch, places * heads, width]) as Tensor3D;
    const scores = tf.reshape(tf.matMul(rows, used(k), false, true), [batch, places, heads, keys]);
    const weights = tf.softmax(mask ? tf.add(scores, tf.expandDims(mask, 2)) : scores);
    const flat = tf.reshape(weights, [batch, places * heads, keys]) as Tensor3D;
    return tf.reshape(tf.matMul(flat, used(v)), q.shape);
  };

Deno.test("attention() on cpu and its gradients equal those of tfjs's operations", async () => {
  await useDevice("cpu");
  for (const shape of SHAPES) {
    const [found, expected] = [
      await results(shape, kernel(shape)),
      await results(shape, composed(shape)),
    ];
    found.forEach((x, i) => {
      const error = relativeError(x, expected[i]);
      assert.ok(error < 1e-5, `${JSON.stringify(shape)}, result ${i}: ${error}`);
    });
  }
});

for (const device of DEVICES.filter((name) => name !== "cpu")) {
  Deno.test(`attention() on ${device} and its gradients equal those on cpu`, async () => {
    for (const shape of SHAPES) {
      await useDevice("cpu");
      const expected = await results(shape, kernel(shape));
      await useDevice(device);
      const before = countTensors();
      const found = await results(shape, kernel(shape));
      assert.equal(countTensors(), before);
      found.forEach((x, i) => {
        const error = relativeError(x, expected[i]);
        assert.ok(error < 1e-5, `${JSON.stringify(shape)}, result ${i}: ${error}`);
      });
    }
  });
}

Deno.test("attention() has the gradients that finite differences have", async () => {
  await useDevice("cpu");
  const shape = {
    batch: 2,
    places: 3,
    heads: 2,
    width: 5,
    capacity: 9,
    keys: 7,
    mask: [2, 3],
  } as const;
  const numbers = numbersOf(shape);
  // Where all is masked, float32 has lost the scores: their true slope is 0, softmax's is not.
  numbers.added.fill(0, numbers.added.length - shape.keys);
  const [, ...gradients] = await results(shape, kernel(shape), numbers);
  const loss = (changed: Partial<typeof numbers>) => {
    const { q, k, v, added, dy } = { ...numbers, ...changed };
    return tf.tidy(() => {
      const out = attention(
        tf.tensor4d(q, [2, 3, 2, 5]),
        tf.tensor3d(k, [2, 9, 5]),
        tf.tensor3d(v, [2, 9, 5]),
        { mask: tf.tensor3d(added, [2, 3, 7]), keys: 7 },
      );
      return tf.sum(tf.mul(out, tf.tensor4d(dy, out.shape))).dataSync()[0];
    });
  };
  (["q", "k", "v"] as const).forEach((name, which) => {
    for (let i = 0; i < numbers[name].length; i += 7) {
      const at = (step: number) => {
        const moved = numbers[name].slice();
        moved[i] += step;
        return loss({ [name]: moved });
      };
      const slope = (at(0.01) - at(-0.01)) / 0.02;
      const found = gradients[which][i];
      assert.ok(
        Math.abs(slope - found) < 2e-3 * Math.abs(slope) + 2e-3,
        `${name} ${slope} ${found}`,
      );
    }
  });
});

for (const device of DEVICES) {
  Deno.test(`attention() on ${device} reads no place that is not in use`, async () => {
    await useDevice(device);
    const q = tf.tensor4d(drawn(1, 2 * 8), [2, 1, 2, 4]);
    const places = (from: number, count: number) => {
      const values = drawn(from, 2 * 3 * 4);
      const row = (b: number) => [...values.slice(12 * b, 12 * b + 12)];
      const rest = new Array<number>(4 * (count - 3)).fill(NaN);
      return tf.tensor3d([...row(0), ...rest, ...row(1), ...rest], [2, count, 4]);
    };
    const [full, part] = [3, 8].map((count) => {
      const [k, v] = [places(2, count), places(3, count)];
      const out = attention(q, k, v, { keys: 3 });
      tf.dispose([k, v]);
      return out;
    });
    q.dispose();
    assert.deepEqual(await take(part), await take(full));
  });

  Deno.test(`attention() on ${device} takes a mask for more places than are in use`, async () => {
    await useDevice(device);
    const [q, k] = [tf.tensor4d(drawn(1, 36), [2, 3, 2, 3]), tf.tensor3d(drawn(2, 30), [2, 5, 3])];
    const wide = tf.tensor3d(drawn(3, 2 * 3 * 5), [2, 3, 5]);
    const found = [2, 4].map((keys) =>
      tf.tidy(() => {
        const exact = tf.slice(wide, [0, 0, 0], [-1, -1, keys]) as Tensor3D;
        return [wide, exact].map((mask) => attention(q, k, k, { mask, keys }));
      })
    );
    for (const [a, b] of found) assert.deepEqual(await take(a), await take(b));
    tf.dispose([q, k, wide]);
  });

  Deno.test(`writeCache() on ${device} changes one place of the tensor itself`, async () => {
    await useDevice(device);
    const before = countTensors();
    const cache = tf.zeros([2, 5, 3]) as Tensor3D;
    const held = countTensors();
    const expected = new Float32Array(2 * 5 * 3);
    for (const position of [0, 3, 4, 3]) {
      const values = drawn(position, 2 * 3);
      const x = tf.tensor3d(values, [2, 1, 3]);
      writeCache(cache, x, position);
      x.dispose();
      expected.set(values.subarray(0, 3), 3 * position);
      expected.set(values.subarray(3), 15 + 3 * position);
      // Reading it in between must not leave an old copy of it behind.
      assert.deepEqual(Float32Array.from(await cache.data<"float32">()), expected);
    }
    assert.equal(countTensors(), held);
    cache.dispose();
    assert.equal(countTensors(), before);
  });

  Deno.test(`attention() on ${device} shows what is not a number`, async () => {
    await useDevice(device);
    const bad = drawn(1, 16);
    bad[5] = NaN;
    const out = tf.tidy(() => {
      const [k, v] = [tf.ones([1, 3, 4]) as Tensor3D, tf.ones([1, 3, 4]) as Tensor3D];
      return attention(tf.tensor4d(bad, [1, 2, 2, 4]), k, v);
    });
    const found = await take(out);
    assert.ok(found.subarray(0, 4).every((x) => x === 1));
    assert.ok(found.subarray(4, 8).every(Number.isNaN));
  });
}

Deno.test("attention() and writeCache() refuse what does not fit, in one sentence", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    const q = tf.zeros([2, 3, 2, 4]) as Tensor4D;
    const k = tf.zeros([2, 6, 4]) as Tensor3D;
    const cases: [() => unknown, RegExp][] = [
      [
        () => attention(q, tf.zeros([2, 6, 5]), tf.zeros([2, 6, 5])),
        /must be \[B, T, N, K\], \[B, C/,
      ],
      [() => attention(q, tf.zeros([1, 6, 4]), tf.zeros([1, 6, 4])), /queries \[2,3,2,4\]/],
      [() => attention(q, k, tf.zeros([2, 5, 4])), /values \[2,5,4\]/],
      [() => attention(tf.zeros([2, 0, 2, 4]), k, k), /not empty/],
      [() => attention(q, k, k, { keys: 7 }), /Cannot attend to 7 places of a cache .* give 1…6/],
      [() => attention(q, k, k, { keys: 1.5 }), /give 1…6/],
      [() => attention(q, k, k, { mask: tf.zeros([2, 3, 5]) }), /with 6 keys in use the mask is/],
      [() => attention(q, k, k, { mask: tf.zeros([3, 3, 6]) }), /\[1 or 2, 1 or 3, 6 or more\]/],
      [() => writeCache(k, tf.zeros([2, 1, 4]), 6), /has places 0…5/],
      [() => writeCache(k, tf.zeros([2, 2, 4]), 0), /one place of it is \[2,1,4\]/],
    ];
    for (const [run, message] of cases) assert.throws(run, { name: "RangeError", message });
    assert.throws(() => attention(q, k, tf.zeros([2, 6, 4], "int32")), {
      name: "TypeError",
      message: "Cannot attend: v is int32, float32 is needed",
    });
  });
});
