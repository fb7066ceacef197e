import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";
import { behaviourWeight, boundedLogRatio, detach } from "./decoupled.ts";
import { type LossInput, type LossOptions, ppoLosses } from "./loss.ts";
import { truncatedWeights } from "./ratio_metrics.ts";

await tf.setBackend("cpu");

const OPTIONS: LossOptions = {
  clipRange: 0.2,
  valueClipRange: 0,
  valueLossWeight: 0.5,
  entropyWeight: 0.01,
  chunkWeightCap: 2,
  tokenWeightCap: 1.25,
};

/** Log-probabilities of `[B, 2]` tokens under the three policies, and advantages. */
interface Columns {
  readonly now: number[][];
  readonly proximal?: number[][];
  readonly behaviour: number[][];
  readonly advantage: number[];
}

function inputOf({ now, proximal, behaviour, advantage }: Columns, logProb?: tf.Tensor): LossInput {
  const sum = (x: tf.Tensor) => tf.sum(x, 1) as tf.Tensor1D;
  const zeros = tf.zeros([advantage.length]) as tf.Tensor1D;
  const tokens = {
    logProb: (logProb ?? tf.tensor2d(now)) as tf.Tensor2D,
    oldLogProb: tf.tensor2d(behaviour),
    proximalLogProb: proximal && tf.tensor2d(proximal),
    isToken: tf.onesLike(tf.tensor2d(now)),
  };
  return {
    logProb: sum(tokens.logProb),
    entropy: zeros,
    value: zeros,
    oldLogProb: sum(tokens.oldLogProb),
    oldValue: zeros,
    advantage: tf.tensor1d(advantage),
    valueTarget: zeros,
    proximalLogProb: tokens.proximalLogProb && sum(tokens.proximalLogProb),
    tokens,
  };
}

/** All losses as numbers, then the gradient by the tokens' log-probabilities. */
function resultsOf(columns: Columns, options: LossOptions): number[] {
  return tf.tidy(() => {
    const losses = Object.values(ppoLosses(inputOf(columns), options));
    const gradient = tf.grad((x) => ppoLosses(inputOf(columns, x), options).total);
    return [
      ...losses.map((t: tf.Tensor) => t.dataSync()[0]),
      ...gradient(tf.tensor2d(columns.now)).dataSync(),
    ];
  });
}

const policyOf = (columns: Columns, ratio: "chunk" | "token") =>
  tf.tidy(() => ppoLosses(inputOf(columns), { ...OPTIONS, ratio }).policy.dataSync()[0]);

const logProb = fc.float({ min: -3, max: 0, noNaN: true });
const row = fc.record({
  now: fc.tuple(logProb, logProb),
  behaviour: fc.tuple(logProb, logProb),
  advantage: fc.float({ min: -2, max: 2, noNaN: true }),
});
const batches = fc.array(row, { minLength: 1, maxLength: 6 }).map((rows) => ({
  now: rows.map((r) => [...r.now]),
  behaviour: rows.map((r) => [...r.behaviour]),
  advantage: rows.map((r) => r.advantage),
}));

Deno.test("ppoLosses() decoupled is plain PPO to the last bit when both old policies are one", () => {
  fc.assert(
    fc.property(batches, fc.constantFrom("chunk" as const, "token" as const), (batch, ratio) => {
      const options = { ...OPTIONS, ratio };
      const decoupled = resultsOf({ ...batch, proximal: batch.behaviour }, options);
      assert.deepEqual(decoupled, resultsOf(batch, options));
    }),
    { numRuns: 40, seed: 1 },
  );
});

Deno.test("ppoLosses() decoupled caps the weight of chunks and of tokens apart", () => {
  const tokenWeights = [Math.log(1.2), Math.log(1.5)]; // capped at 1.25; as a chunk 1.8, not capped
  const columns: Columns = {
    now: [[-1, -1]],
    proximal: [[-1, -1]],
    behaviour: [tokenWeights.map((w) => -1 - w)],
    advantage: [1],
  };
  const close = (x: number, y: number) => assert.ok(Math.abs(x - y) < 1e-6, `${x} is not ${y}`);
  close(policyOf(columns, "chunk"), -1.8);
  close(policyOf(columns, "token"), -(1.2 + 1.25) / 2);
  // Twice as far the chunk's weight, 3.24, is capped at 2.
  const far = { ...columns, behaviour: [tokenWeights.map((w) => -1 - 2 * w)] };
  close(policyOf(far, "chunk"), -2);
});

Deno.test("ppoLosses() decoupled clips around the proximal policy, not around the stale one", () => {
  // Far from the policy that sampled, but the proximal policy is where it is now: full gradient.
  const columns: Columns = { now: [[-1, 0]], behaviour: [[-2, 0]], advantage: [1] };
  const plain = resultsOf(columns, OPTIONS).slice(6);
  const decoupled = resultsOf({ ...columns, proximal: columns.now }, OPTIONS).slice(6);
  assert.deepEqual(plain.map(Math.abs), [0, 0]);
  assert.deepEqual(decoupled, [-2, -2]); // w = min(e, 2), ρ = 1
});

Deno.test("behaviourWeight() is a constant, finite, and refuses a cap below 1", () => {
  tf.tidy(() => {
    const weigh = (x: tf.Tensor) => tf.sum(behaviourWeight(x, tf.tensor1d([-1, -2]), 3));
    const gradient = tf.grad(weigh)(tf.tensor1d([-0.5, -0.5]));
    assert.deepEqual([...gradient.dataSync()], [0, 0]);
    const far = behaviourWeight(tf.tensor1d([0, -1e30]), tf.tensor1d([-1e30, 0]), Infinity);
    assert.ok(far.dataSync().every(Number.isFinite));
    assert.throws(() => behaviourWeight(far, far, 0.5), /RangeError: .*cap is 0.5/);
    assert.throws(() => behaviourWeight(far, far, NaN), RangeError);
  });
});

Deno.test("detach() keeps values and stops gradients, boundedLogRatio() those beyond its bounds", () => {
  tf.tidy(() => {
    const x = tf.tensor1d([1, 2]);
    assert.deepEqual([...detach(x).dataSync()], [1, 2]);
    const gradient = tf.grad((y) => tf.sum(tf.mul(detach(y), y)))(x);
    assert.deepEqual([...gradient.dataSync()], [1, 2]);
    const bounded = (y: tf.Tensor) => boundedLogRatio(y, tf.zerosLike(y));
    assert.deepEqual([...bounded(tf.tensor1d([-50, 3, 50])).dataSync()], [-20, 3, 20]);
    const sum = tf.grad((y) => tf.sum(bounded(y)))(tf.tensor1d([-50, 3, 50]));
    assert.deepEqual([...sum.dataSync()], [0, 1, 0]);
  });
});

Deno.test("behaviourWeight() and truncatedWeights() are one formula", () => {
  const logRatios = fc.array(fc.float({ min: -30, max: 30, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(logRatios, fc.constantFrom(1, 2, Infinity), (list, cap) => {
      const host = truncatedWeights(list, cap);
      const device = tf.tidy(() =>
        behaviourWeight(tf.tensor1d(list), tf.zeros([list.length]), cap).dataSync()
      );
      device.forEach((w, i) => assert.ok(Math.abs(w - host[i]) <= 1e-5 * (1 + host[i])));
    }),
    { numRuns: 40, seed: 2 },
  );
});
