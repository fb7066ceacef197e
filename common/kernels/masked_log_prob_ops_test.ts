import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import type { Tensor, Tensor2D } from "../policy/tensors.ts";
import { countTensors, take } from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import { maskedLogProbs } from "./masked_log_prob_ops.ts";
import { drawn, kernelDevices, relativeError } from "./testing.ts";

const DEVICES = await kernelDevices("masked log-probabilities");

/** One row, one token, odd numbers of tokens, more than a workgroup's threads, temperatures. */
const SHAPES = [
  { rows: 1, vocab: 1, density: 1, temperature: 1 },
  { rows: 5, vocab: 3, density: 0.5, temperature: 1 },
  { rows: 7, vocab: 130, density: 0.2, temperature: 0.7 },
  { rows: 64, vocab: 33, density: 0.6, temperature: 1.5 },
] as const;
type Shape = (typeof SHAPES)[number];

/** Random logits, masks and allowed tokens; every third row counts for nothing. */
function numbersOf({ rows, vocab, density }: Shape) {
  const random = seededRandom(rows);
  const allowed = Uint8Array.from({ length: rows * vocab }, () => (random() < density ? 1 : 0));
  const tokens = Int32Array.from({ length: rows }, (_, row) => {
    const token = Math.floor(vocab * random());
    allowed[row * vocab + token] = 1;
    return row % 3 === 2 ? -1 : token;
  });
  return { logits: drawn(1, rows * vocab).map((x) => 3 * x), allowed, tokens };
}

/** A sum in which each row's log-probability and entropy has a factor of its own. */
function loss(logits: Tensor2D, shape: Shape, numbers: ReturnType<typeof numbersOf>): Tensor {
  const { temperature, rows } = shape;
  const { logProb, entropy } = maskedLogProbs(logits, { ...numbers, temperature });
  const factors = tf.tensor2d(drawn(9, 2 * rows), [2, rows]);
  return tf.sum(tf.mul(tf.stack([logProb, entropy]), factors));
}

/** Log-probabilities, entropies and the gradient of {@link loss}. */
async function results(shape: Shape): Promise<Float32Array[]> {
  const numbers = numbersOf(shape);
  const tensors = tf.tidy(() => {
    const logits = tf.tensor2d(numbers.logits, [shape.rows, shape.vocab]);
    const { logProb, entropy } = maskedLogProbs(logits, {
      ...numbers,
      temperature: shape.temperature,
    });
    const of = (x: tf.Tensor) => loss(x as Tensor2D, shape, numbers) as tf.Tensor;
    return [logProb, entropy, tf.grad(of)(logits)];
  });
  return await Promise.all(tensors.map((x) => take(x as Tensor)));
}

Deno.test("maskedLogProbs() on cpu is the masked softmax by its definition", async () => {
  await useDevice("cpu");
  for (const shape of SHAPES) {
    const { rows, vocab, temperature } = shape;
    const { logits, allowed, tokens } = numbersOf(shape);
    const [logProb, entropy] = await results(shape);
    for (let row = 0; row < rows; row++) {
      const weights = Array.from(
        { length: vocab },
        (_, i) => allowed[row * vocab + i] * Math.exp(logits[row * vocab + i] / temperature),
      );
      const total = weights.reduce((a, b) => a + b, 0);
      const isCounted = tokens[row] >= 0;
      const expected = isCounted
        ? [
          Math.log(weights[tokens[row]] / total),
          weights.reduce((h, w) => h - (w > 0 ? w / total * Math.log(w / total) : 0), 0),
        ]
        : [0, 0];
      assert.ok(Math.abs(logProb[row] - expected[0]) < 1e-5, `${logProb[row]} ${expected[0]}`);
      assert.ok(Math.abs(entropy[row] - expected[1]) < 1e-5, `${entropy[row]} ${expected[1]}`);
    }
  }
});

Deno.test("maskedLogProbs() has the gradient that finite differences have", async () => {
  await useDevice("cpu");
  const shape = SHAPES[1];
  const numbers = numbersOf(shape);
  const gradient = (await results(shape))[2];
  gradient.forEach((found, i) => {
    const at = (step: number) => {
      const moved = numbers.logits.slice();
      moved[i] += step;
      const logits = () => tf.tensor2d(moved, [shape.rows, shape.vocab]);
      return tf.tidy(() => (loss(logits(), shape, numbers) as tf.Tensor).dataSync()[0]);
    };
    const slope = (at(0.02) - at(-0.02)) / 0.04;
    assert.ok(Math.abs(slope - found) < 2e-3, `${i}: ${slope} ${found}`);
  });
});

for (const device of DEVICES.filter((name) => name !== "cpu")) {
  Deno.test(`maskedLogProbs() on ${device} and its gradient equal those on cpu`, async () => {
    for (const shape of SHAPES) {
      await useDevice("cpu");
      const expected = await results(shape);
      await useDevice(device);
      const before = countTensors();
      const found = await results(shape);
      assert.equal(countTensors(), before);
      found.forEach((x, i) => {
        const error = relativeError(x, expected[i]);
        assert.ok(error < 1e-5, `${JSON.stringify(shape)}, result ${i}: ${error}`);
      });
    }
  });
}

for (const device of DEVICES) {
  Deno.test(`maskedLogProbs() on ${device} bears extreme logits, and shows what is not a number`, async () => {
    await useDevice(device);
    const run = async (logits: number[], token: number, allowed = [1, 1, 1]) => {
      const { logProb, entropy } = tf.tidy(() =>
        maskedLogProbs(tf.tensor2d(logits, [1, 3]), {
          allowed: Uint8Array.from(allowed),
          tokens: Int32Array.of(token),
          temperature: 1,
        })
      );
      return [...await take(logProb), ...await take(entropy)];
    };
    assert.deepEqual(await run([500, -500, 0], 0), [0, 0]);
    assert.deepEqual(await run([500, -500, 0], 1), [-1000, 0]);
    assert.equal((await run([1, 2, 3], 1, [1, 0, 1]))[0], -Infinity);
    assert.ok((await run([1, NaN, 3], 0)).every(Number.isNaN));
  });
}

Deno.test("maskedLogProbs() refuses what does not fit, in one sentence", async () => {
  await useDevice("cpu");
  tf.tidy(() => {
    const logits = tf.zeros([2, 3]) as Tensor2D;
    const fit = {
      allowed: new Uint8Array(6).fill(1),
      tokens: Int32Array.of(0, -1),
      temperature: 1,
    };
    const cases: [Partial<typeof fit>, RegExp][] = [
      [{ allowed: new Uint8Array(5) }, /a mask of 5 places and 2 tokens were given, 6 and 2/],
      [{ tokens: Int32Array.of(1) }, /and 1 tokens were given/],
      [{ tokens: Int32Array.of(1, 3) }, /token 3 in row 1: there are tokens 0…2/],
      [{ tokens: Int32Array.of(-2, 0) }, /token -2 in row 0/],
      [{ temperature: 0 }, /at temperature 0: it must be a positive number/],
    ];
    for (const [changes, message] of cases) {
      const run = () => maskedLogProbs(logits, { ...fit, ...changes });
      assert.throws(run, { name: "RangeError", message });
    }
  });
});
