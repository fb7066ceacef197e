import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "./backend.ts";
import { KvCache } from "./kv_cache.ts";
import { countTensors } from "./testing.ts";

/** Two layers with a prefix of two positions of two numbers. */
function makeCache(capacity: number): KvCache {
  const prefix = [1, 5].map((n) => tf.tensor3d([n, n + 1, n + 2, n + 3], [1, 2, 2]));
  try {
    return new KvCache(prefix, prefix, capacity);
  } finally {
    tf.dispose(prefix);
  }
}

for (const device of ["cpu", "wasm"] as const) {
  Deno.test(`a cache keeps what it was given and never changes size on ${device}`, async () => {
    await useDevice(device);
    const before = countTensors();
    {
      using cache = makeCache(4);
      const held = countTensors();
      for (const [position, x] of [[2, 9], [3, 11]]) {
        for (const layer of [0, 1]) {
          const [keys, values] = tf.tidy(() =>
            cache.append(layer, tf.tensor3d([[[x, x]]]), tf.tensor3d([[[-x, x]]]))
          );
          assert.deepEqual(keys.shape, [1, 4, 2]);
          const [k, v] = [await keys.data<"float32">(), await values.data<"float32">()];
          assert.deepEqual([...k.slice(0, 4)], layer === 0 ? [1, 2, 3, 4] : [5, 6, 7, 8]);
          assert.deepEqual([...k.slice(2 * position, 2 * position + 2)], [x, x]);
          assert.deepEqual([...v.slice(2 * position, 2 * position + 2)], [-x, x]);
          assert.ok(k.slice(2 * position + 2).every((later) => later === 0));
        }
        cache.advance();
      }
      assert.equal(countTensors(), held);
      const one = () => tf.zeros([1, 1, 2]) as tf.Tensor3D;
      assert.throws(() => tf.tidy(() => cache.append(0, one(), one())), {
        name: "RangeError",
        message: "The key/value cache is full: 4 positions",
      });
    }
    assert.equal(countTensors(), before);
  });
}

Deno.test("a cache takes a prefix that fills it and refuses a longer one", async () => {
  await useDevice("cpu");
  const before = countTensors();
  {
    using full = makeCache(2);
    assert.equal(full.length, full.capacity);
  }
  assert.throws(() => makeCache(1), {
    name: "RangeError",
    message: "A cache of 1 positions cannot hold a prefix of 2",
  });
  assert.equal(countTensors(), before);
});
