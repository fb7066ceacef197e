import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { normal, seededRandom } from "../../common/random.ts";
import { RandomNetworkDistillation } from "./rnd.ts";

await tf.setBackend("cpu");

const OPTIONS = { features: 6, hidden: 16, embedding: 8, learningRate: 3e-3 };

/** Feature vectors around one point. */
function around(center: number, seed: number, count: number): Float32Array[] {
  const random = seededRandom(seed);
  return Array.from(
    { length: count },
    () => Float32Array.from({ length: OPTIONS.features }, () => center + 0.3 * normal(random)),
  );
}

const mean = (values: Float32Array) => values.reduce((a, b) => a + b, 0) / values.length;

Deno.test("RandomNetworkDistillation finds what it has seen old and what it has not new", async () => {
  using rnd = new RandomNetworkDistillation(OPTIONS, seededRandom(1));
  const seen = around(0, 2, 64), unseen = around(1.5, 3, 64);
  // Both kinds pass the statistics once, so that newness is not a matter of the features' scale.
  await rnd.update([...seen, ...unseen]);
  const first = mean(await rnd.reward(seen));
  const errors: number[] = [];
  for (let i = 0; i < 200; i++) errors.push(await rnd.update(seen));
  const [old, fresh] = [mean(await rnd.reward(seen)), mean(await rnd.reward(unseen))];
  assert.ok(errors.at(-1)! < 0.1 * errors[0], `${errors[0]} fell to ${errors.at(-1)} only`);
  assert.ok(old < 0.5 * first, `${first} fell to ${old} only`);
  assert.ok(fresh > 5 * old, `unseen ${fresh}, seen ${old}`);
});

Deno.test("RandomNetworkDistillation rates about 1 what is usual and changes nothing by rating", async () => {
  using rnd = new RandomNetworkDistillation(OPTIONS, seededRandom(1));
  const batch = around(0, 4, 256);
  await rnd.update(batch);
  const before = JSON.stringify((await rnd.toHost()).featureMoments);
  const rewards = await rnd.reward(batch);
  assert.ok(mean(rewards) > 0.3 && mean(rewards) < 1.5, `${mean(rewards)}`);
  assert.ok(rewards.every((r) => r >= 0 && Number.isFinite(r)));
  assert.deepEqual(await rnd.reward(batch), rewards);
  assert.equal(JSON.stringify((await rnd.toHost()).featureMoments), before);
});

Deno.test("RandomNetworkDistillation goes on after a restore bit for bit, and refuses others", async () => {
  using rnd = new RandomNetworkDistillation(OPTIONS, seededRandom(1));
  const batches = Array.from({ length: 6 }, (_, i) => around(i / 3, i, 16));
  const fresh = await rnd.toHost();
  for (const batch of batches.slice(0, 3)) await rnd.update(batch);
  const state = structuredClone(await rnd.toHost());
  using other = new RandomNetworkDistillation(OPTIONS, seededRandom(99));
  other.restore({ ...state, ...JSON.parse(JSON.stringify({ ...state, tensors: undefined })) });
  for (const batch of batches.slice(3)) await Promise.all([rnd.update(batch), other.update(batch)]);
  assert.deepEqual(await other.toHost(), await rnd.toHost());
  assert.deepEqual(await other.reward(batches[0]), await rnd.reward(batches[0]));

  // Back to the beginning: as if no step had been taken.
  other.restore(fresh);
  using again = new RandomNetworkDistillation(OPTIONS, seededRandom(1));
  await Promise.all([other.update(batches[0]), again.update(batches[0])]);
  assert.deepEqual(await other.toHost(), await again.toHost());

  using wider = new RandomNetworkDistillation({ ...OPTIONS, hidden: 17 }, seededRandom(1));
  assert.throws(() => wider.restore(state), /RangeError: .*target\/0 has shape \[6,16\]/);
  const broken = { ...state, error: { meanSquare: NaN, count: 1 } };
  assert.throws(() => other.restore(broken), /mean squared error is NaN/);
});

Deno.test("RandomNetworkDistillation frees all it holds and refuses malformed features", async () => {
  const before = tf.memory().numTensors;
  {
    using rnd = new RandomNetworkDistillation(OPTIONS, seededRandom(1));
    await rnd.update(around(0, 5, 4));
    const held = tf.memory().numTensors;
    for (let i = 0; i < 5; i++) {
      await rnd.update(around(0, i, 4));
      await rnd.reward(around(0, i, 3));
    }
    assert.equal(tf.memory().numTensors, held);
    await assert.rejects(() => rnd.reward([new Float32Array(5)]), /RangeError: .* 5 features/);
    await assert.rejects(() => rnd.update([new Float32Array(5)]), /RangeError: .* 5 numbers/);
    const bad = Float32Array.of(0, 0, NaN, 0, 0, 0);
    await assert.rejects(() => rnd.update([bad]), /RangeError: .*number 2 of 6 is NaN/);
    assert.equal((await rnd.reward([])).length, 0);
    assert.equal(await rnd.update([]), 0);
    assert.equal(tf.memory().numTensors, held);
  }
  assert.equal(tf.memory().numTensors, before);
  assert.throws(
    () => new RandomNetworkDistillation({ ...OPTIONS, hidden: 0 }, seededRandom(1)),
    /RangeError: .*hidden is 0/,
  );
});
