import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { drawToken } from "../policy/sampling.ts";
import { countTensors, take } from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import { maskedSample } from "./masked_sample_ops.ts";
import { drawn, kernelDevices } from "./testing.ts";

const DEVICES = await kernelDevices("masked sampling");

/** Random logits of some spread, masks of some density and numbers. At least one token is allowed. */
function rowsOf(seed: number, batch: number, vocab: number, spread: number, density: number) {
  const random = seededRandom(seed);
  const logits = drawn(seed, batch * vocab).map((x) => spread * x);
  const allowed = Array.from({ length: batch }, () => {
    const mask = Uint8Array.from({ length: vocab }, () => (random() < density ? 1 : 0));
    mask[Math.floor(vocab * random())] = 1;
    return mask;
  });
  const uniforms = Float32Array.from({ length: batch }, random);
  return { logits, allowed, uniforms };
}

/** How far a number is from the nearest boundary between two tokens' shares. */
function distanceToBoundary(
  logits: Float32Array,
  allowed: Uint8Array,
  uniform: number,
  temperature: number,
): number {
  const top = logits.reduce((m, x, i) => (allowed[i] ? Math.max(m, x) : m), -Infinity);
  const weights = Array.from(
    logits,
    (x, i) => (allowed[i] ? Math.exp((x - top) / temperature) : 0),
  );
  const total = weights.reduce((a, b) => a + b, 0);
  let sum = 0, nearest = Infinity;
  for (const weight of weights) {
    sum += weight;
    nearest = Math.min(nearest, Math.abs(sum / total - uniform));
  }
  return nearest;
}

/** A token, its log-probability and the entropy. */
async function sample(
  logits: Float32Array,
  allowed: readonly Uint8Array[],
  uniforms: ArrayLike<number>,
  temperature: number,
): Promise<Float32Array> {
  const shape: [number, number] = [allowed.length, logits.length / allowed.length];
  return await take(
    tf.tidy(() => maskedSample(tf.tensor2d(logits, shape), { allowed, uniforms, temperature })),
  );
}

for (const device of DEVICES) {
  Deno.test(`maskedSample() on ${device} draws the tokens that drawToken() draws`, async () => {
    await useDevice(device);
    const before = countTensors();
    const cases = [
      { batch: 1, vocab: 1, spread: 1, density: 1 },
      { batch: 3, vocab: 2, spread: 1, density: 0.5 },
      { batch: 2000, vocab: 33, spread: 2, density: 0.7 },
      { batch: 700, vocab: 256, spread: 5, density: 0.1 },
      { batch: 300, vocab: 300, spread: 1, density: 1 },
      { batch: 20, vocab: 2048, spread: 3, density: 0.6 },
    ];
    let skipped = 0, compared = 0;
    for (const [seed, { batch, vocab, spread, density }] of cases.entries()) {
      for (const temperature of [1, 0.6, 0]) {
        const { logits, allowed, uniforms } = rowsOf(seed, batch, vocab, spread, density);
        const found = await sample(logits, allowed, uniforms, temperature);
        for (let row = 0; row < batch; row++) {
          const mask = allowed[row];
          const expected = drawToken(logits, row, mask, temperature, () => uniforms[row]);
          const own = logits.subarray(row * vocab, (row + 1) * vocab);
          const isNear = temperature > 0 &&
            distanceToBoundary(own, mask, uniforms[row], temperature) < 1e-6;
          if (isNear) {
            skipped++;
            continue;
          }
          compared++;
          const [token, logProb, entropy] = found.subarray(3 * row, 3 * row + 3);
          const name = `${vocab} tokens at ${temperature}, row ${row}`;
          assert.equal(token, expected.token, name);
          assert.ok(Math.abs(logProb - expected.logProb) < 2e-5, `${name}: ${logProb}`);
          assert.ok(Math.abs(entropy - expected.entropy) < 2e-5, `${name}: ${entropy}`);
        }
      }
    }
    assert.ok(compared > 9000 && skipped < 30, `${skipped} of ${compared} are too near to tell`);
    assert.equal(countTensors(), before);
  });

  Deno.test(`maskedSample() on ${device} takes the first of equal tokens, and none without probability`, async () => {
    await useDevice(device);
    const equal = new Float32Array(200).fill(1.5);
    const all = new Uint8Array(200).fill(1);
    const late = all.slice().fill(0, 0, 130);
    assert.equal((await sample(equal, [all], [0], 0))[0], 0);
    assert.equal((await sample(equal, [late], [0], 0))[0], 130);
    assert.equal((await sample(equal, [late], [0], 1))[0], 130);
    // The ends of the interval; 1 stands for what rounding a number to float32 may give.
    const edges = new Float32Array(200).fill(-3e38);
    edges.set([1, 2], 100);
    assert.equal((await sample(edges, [all], [0], 1))[0], 100);
    const [token, logProb, entropy] = await sample(edges, [all], [1], 1);
    assert.equal(token, 101);
    assert.ok(Math.abs(logProb + 0.31326) < 1e-4 && Math.abs(entropy - 0.58220) < 1e-4);
  });

  Deno.test(`maskedSample() on ${device} gives −1 for a row that allows nothing, and shows what is not a number`, async () => {
    await useDevice(device);
    const logits = Float32Array.of(1, 2, 3, 1, NaN, 3);
    const none = new Uint8Array(3);
    const all = Uint8Array.of(1, 1, 1);
    const found = await sample(logits, [none, all], [0.5, 0.5], 1);
    assert.equal(found[0], -1);
    for (const i of [1, 2, 4, 5]) assert.ok(Number.isNaN(found[i]), `${i}: ${found[i]}`);
  });
}

Deno.test("maskedSample() refuses what does not fit, in one sentence", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    const logits = tf.zeros([2, 3]) as tf.Tensor2D;
    const [mask, short] = [new Uint8Array(3).fill(1), new Uint8Array(2)];
    const cases: [Parameters<typeof maskedSample>[1], RegExp][] = [
      [{ allowed: [mask], uniforms: [0, 0], temperature: 1 }, /1 masks and 2 numbers were given/],
      [{ allowed: [mask, mask], uniforms: [0], temperature: 1 }, /2 of both are needed/],
      [{ allowed: [mask, short], uniforms: [0, 0], temperature: 1 }, /row 1 has 2 places, 3 are/],
      [{ allowed: [mask, mask], uniforms: [0, 0], temperature: -1 }, /at temperature -1: it must/],
      [{ allowed: [mask, mask], uniforms: [0, 0], temperature: NaN }, /at temperature NaN/],
    ];
    for (const [options, message] of cases) {
      assert.throws(() => maskedSample(logits, options), { name: "RangeError", message });
    }
  });
});
