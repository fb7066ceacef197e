import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";
import { seededRandom } from "../../common/random.ts";
import { explainedVariance, klToReference, type LossInput, ppoLosses } from "./loss.ts";
import { type BatchColumn, readPpoGolden } from "./testing.ts";

await tf.setBackend("cpu");

const OPTIONS = { clipRange: 0.2, valueClipRange: 0, valueLossWeight: 0.5, entropyWeight: 0 };

type Batch = Readonly<Record<BatchColumn, readonly number[]>>;

const ZEROS: Batch = {
  logProb: [0, 0],
  entropy: [0, 0],
  value: [0, 0],
  oldLogProb: [0, 0],
  oldValue: [0, 0],
  advantage: [0, 0],
  valueTarget: [0, 0],
};

const tensors = (batch: Batch): LossInput =>
  Object.fromEntries(
    Object.entries(batch).map(([name, column]) => [name, tf.tensor1d([...column])]),
  ) as unknown as LossInput;

/** Every loss as a number. */
function lossesOf(batch: Batch, options = OPTIONS): Record<string, number> {
  return tf.tidy(() =>
    Object.fromEntries(
      Object.entries(ppoLosses(tensors(batch), options)).map(([k, t]) => [k, t.dataSync()[0]]),
    )
  );
}

/** The total's gradients by the three columns that a policy makes. */
function gradientsOf(batch: Batch, options = OPTIONS): number[][] {
  return tf.tidy(() => {
    const fixed = tensors(batch);
    const total = tf.grads((logProb: tf.Tensor, value: tf.Tensor, entropy: tf.Tensor) =>
      ppoLosses({ ...fixed, logProb, value, entropy } as LossInput, options).total
    );
    return total([fixed.logProb, fixed.value, fixed.entropy]).map((g) => [...g.dataSync()]);
  });
}

function assertClose(actual: readonly number[], expected: readonly number[], tolerance: number) {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) =>
    assert.ok(
      Math.abs(x - expected[i]) <= tolerance * (1 + Math.abs(expected[i])),
      `[${i}]: ${x} is not ${expected[i]}`,
    )
  );
}

Deno.test("ppoLosses() and its gradients agree with RLax and JAX", () => {
  for (const { options, batch, losses, gradients } of readPpoGolden().losses) {
    const found = lossesOf(batch, options);
    for (const [name, value] of Object.entries(losses)) assertClose([found[name]], [value], 1e-4);
    const [logProb, value, entropy] = gradientsOf(batch, options);
    assertClose(logProb, gradients.logProb, 1e-4);
    assertClose(value, gradients.value, 1e-4);
    assertClose(entropy, gradients.entropy, 1e-4);
  }
});

Deno.test("ppoLosses() at ratio 1 is minus the mean advantage, without KL or clipping", () => {
  const found = lossesOf({ ...ZEROS, logProb: [-3, -9], oldLogProb: [-3, -9], advantage: [2, -1] });
  assert.equal(found.policy, -0.5);
  assert.equal(found.approxKl, 0);
  assert.equal(found.clipFraction, 0);
});

Deno.test("ppoLosses() has no policy gradient where every chunk is clipped", () => {
  // Ratio e^1 with a positive advantage, e^−1 with a negative one: both have gone far enough.
  const clipped = { ...ZEROS, logProb: [1, -1], advantage: [2, -3] };
  assert.deepEqual(gradientsOf(clipped)[0].map(Math.abs), [0, 0]);
  assert.equal(lossesOf(clipped).clipFraction, 1);
  // The other way round nothing holds the gradient back: −ratio · A / B.
  const wrongWay = { ...clipped, advantage: [-2, 3] };
  assertClose(gradientsOf(wrongWay)[0], [Math.E, -1.5 / Math.E], 1e-6);
});

Deno.test("ppoLosses() stays finite for ratios beyond float32", () => {
  const found = lossesOf({ ...ZEROS, logProb: [500, -500], advantage: [1, -1] });
  for (const [name, value] of Object.entries(found)) assert.ok(Number.isFinite(value), name);
});

Deno.test("ppoLosses() clips the change of values to the worse of both errors", () => {
  const batch = { ...ZEROS, value: [2, 0.1], valueTarget: [2, 1] };
  // Off: errors 0 and 0.9². On at 0.5: the first counts as 0.5 − 2, the second is inside.
  assertClose([lossesOf(batch).value], [(0 + 0.81) / 4], 1e-6);
  const options = { ...OPTIONS, valueClipRange: 0.5 };
  assertClose([lossesOf(batch, options).value], [(2.25 + 0.81) / 4], 1e-6);
  // Clipped: nothing to be gained by going further.
  assert.equal(Math.abs(gradientsOf(batch, options)[1][0]), 0);
});

Deno.test("ppoLosses() adds its parts with their weights", () => {
  const { batch } = readPpoGolden().losses[1];
  const { total, policy, value, entropy } = lossesOf(batch, {
    ...OPTIONS,
    valueLossWeight: 3,
    entropyWeight: 0.25,
  });
  assertClose([total], [policy + 3 * value - 0.25 * entropy], 1e-6);
});

/** Random masked log-probabilities `[B, S, V]`. */
function distributions(seed: number, mask: tf.Tensor3D): tf.Tensor3D {
  const random = seededRandom(seed);
  const logits = tf.tensor3d(
    Array.from({ length: mask.size }, () => 4 * random() - 2),
    mask.shape,
  );
  return tf.logSoftmax(tf.add(logits, mask)) as tf.Tensor3D;
}

Deno.test("klToReference() is the mean over tokens, 0 for equal and above 0 for others", () => {
  tf.tidy(() => {
    const masked = Array.from({ length: 2 * 3 * 5 }, (_, i) => (i % 5 === 4 ? -2.38e38 : 0));
    const mask = tf.tensor3d(masked, [2, 3, 5]);
    const isToken = tf.tensor2d([[1, 1, 0], [1, 0, 0]]);
    const p = distributions(1, mask);
    assert.equal(klToReference(p, p, isToken).dataSync()[0], 0);
    for (let seed = 2; seed < 12; seed++) {
      const q = distributions(seed, mask);
      const found = klToReference(q, p, isToken).dataSync()[0];
      const [logP, logQ, present] = [p.arraySync(), q.arraySync(), isToken.arraySync()];
      let sum = 0;
      for (const [b, s] of [[0, 0], [0, 1], [1, 0]]) {
        for (let v = 0; v < 4; v++) {
          sum += present[b][s] * Math.exp(logP[b][s][v]) * (logP[b][s][v] - logQ[b][s][v]);
        }
      }
      assert.ok(found > 0);
      assertClose([found], [sum / 3], 1e-5);
    }
  });
});

Deno.test("klToReference() has the gradient that finite differences give", () => {
  tf.tidy(() => {
    const mask = tf.zeros<tf.Rank.R3>([1, 2, 4]);
    const isToken = tf.ones<tf.Rank.R2>([1, 2]);
    const reference = distributions(1, mask);
    const logits = tf.tensor3d([0.3, -1, 0.5, 0.2, 1, 0, -0.4, 0.6], [1, 2, 4]);
    const kl = (x: tf.Tensor) => klToReference(tf.logSoftmax(x) as tf.Tensor3D, reference, isToken);
    const gradient = tf.grad(kl)(logits).dataSync();
    const step = 1e-2;
    for (let i = 0; i < logits.size; i++) {
      const bump = tf.oneHot(i, logits.size).reshape<tf.Tensor3D>(logits.shape).mul(step);
      const up = kl(tf.add(logits, bump)).dataSync()[0];
      const down = kl(tf.sub(logits, bump)).dataSync()[0];
      assertClose([gradient[i]], [(up - down) / (2 * step)], 1e-3);
    }
  });
});

Deno.test("explainedVariance() is 1 for perfect values, 0 for their mean, below for worse", () => {
  assert.equal(explainedVariance([1, 2, 3], [1, 2, 3]), 1);
  assert.equal(explainedVariance([2, 2, 2], [1, 2, 3]), 0);
  assert.ok(explainedVariance([3, 2, 1], [1, 2, 3]) < 0);
  assert.equal(explainedVariance([3, 2, 1], [5, 5, 5]), 0);
  const number = fc.double({ min: -100, max: 100, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(number, number), { minLength: 2 }), (pairs) => {
      assert.ok(explainedVariance(pairs.map(([v]) => v), pairs.map(([, t]) => t)) <= 1);
    }),
    { numRuns: 50, seed: 1 },
  );
});
