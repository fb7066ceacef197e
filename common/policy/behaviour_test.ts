import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { seededRandom } from "../random.ts";
import { useDevice } from "./backend.ts";
import { behaviourOfTfjs } from "./behaviour.ts";
import { makeObservations, makePolicy, maxDifference, take } from "./testing.ts";

for (const device of ["cpu", "wasm"] as const) {
  Deno.test(`behaviourOfTfjs() names the backend in force (${device})`, async () => {
    await useDevice(device);
    assert.deepEqual(behaviourOfTfjs("int4"), { precision: "int4", decoder: device });
  });
}

/** A backend of which nobody has heard. */
class Abacus extends tf.KernelBackend {
  override dispose(): void {}
}

Deno.test("behaviourOfTfjs() refuses a backend that has no name on the wire", async () => {
  tf.registerBackend("abacus", () => new Abacus());
  try {
    await tf.setBackend("abacus");
    assert.throws(() => behaviourOfTfjs("float32"), {
      name: "RangeError",
      message: /^Cannot name what decodes: tfjs computes on "abacus", known are cpu, wasm, webgpu/,
    });
  } finally {
    await useDevice("wasm");
    tf.removeBackend("abacus");
  }
});

Deno.test("sampleActions() tells each token's log-probability, as evaluate() does", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const observations = makeObservations(5, 4);
  for (const temperature of [1, 0.5]) {
    const chunks = await policy.sampleActions(observations, {
      temperature,
      random: seededRandom(6),
    });
    const prepared = policy.prepareChunks(observations, chunks.map((chunk) => chunk.tokens));
    const again = tf.tidy(() => policy.evaluate(prepared, temperature).tokenLogProbs);
    const [, steps] = again.shape;
    const values = await take(again);
    chunks.forEach(({ tokens, logProb, tokenLogProbs, behaviour }, i) => {
      assert.equal(tokenLogProbs.length, tokens.length);
      assert.ok(tokenLogProbs.every((one) => one <= 0));
      const sum = tokenLogProbs.reduce((total, one) => total + one, 0);
      assert.ok(Math.abs(sum - logProb) < 1e-5 * (1 - sum));
      const row = values.subarray(i * steps, (i + 1) * steps);
      assert.ok(maxDifference(row.subarray(0, tokens.length), tokenLogProbs) < 2e-5);
      assert.ok(row.subarray(tokens.length).every((one) => one === 0), "0 where there is no token");
      assert.deepEqual(behaviour, { precision: "float32", decoder: "wasm" });
    });
  }
});
