import assert from "node:assert/strict";
import fc from "fast-check";
import { rescaleOutput, REWARD_SCALE, ValueNormalizer } from "./value_normalizer.ts";

const close = (x: number, y: number, tolerance = 1e-9) =>
  assert.ok(Math.abs(x - y) <= tolerance * (1 + Math.abs(y)), `${x} is not ${y}`);
const number = fc.double({ min: -1000, max: 1000, noNaN: true });
const lists = fc.array(fc.array(number, { minLength: 1, maxLength: 10 }), {
  minLength: 1,
  maxLength: 6,
});

Deno.test("ValueNormalizer begins as the identity and takes on the first update's scale at once", () => {
  const values = new ValueNormalizer(0.999);
  assert.equal(values.normalize(5), 5);
  values.update([2, 4, 6]);
  close(values.scale.mean, 4);
  close(values.scale.deviation, Math.sqrt(8 / 3));
  close(values.normalize(4), 0);
});

Deno.test("ValueNormalizer forgets by its decay, hand-worked", () => {
  // Weights ½·½ and ½ over ¾: mean (0·¼ + 3·½) / ¾ = 2, squares (4·¼ + 9·½) / ¾ = 22/3.
  const values = new ValueNormalizer(0.5);
  values.update([-2, 2]);
  values.update([3]);
  close(values.scale.mean, 2);
  close(values.scale.deviation, Math.sqrt(22 / 3 - 4));
});

Deno.test("ValueNormalizer goes there and back, and survives JSON bit for bit", () => {
  fc.assert(
    fc.property(lists, number, number, (updates, value, later) => {
      const values = new ValueNormalizer(0.9);
      for (const returns of updates) values.update(returns);
      close(values.denormalize(values.normalize(value)), value, 1e-9);
      const resumed = new ValueNormalizer(0.9, JSON.parse(JSON.stringify(values.statistics)));
      resumed.update([later]);
      values.update([later]);
      assert.deepEqual(resumed.statistics, values.statistics);
      assert.equal(resumed.normalize(value), values.normalize(value));
    }),
    { numRuns: 50, seed: 1 },
  );
});

Deno.test("ValueNormalizer does not blow up returns that hardly differ", () => {
  const values = new ValueNormalizer();
  values.update([1, 1, 1]);
  close(values.scale.deviation, 0.1);
  values.update([]);
  close(values.scale.mean, 1);
});

Deno.test("ValueNormalizer refuses what cannot be and stays as it was", () => {
  const values = new ValueNormalizer();
  values.update([1, 2]);
  const before = values.statistics;
  assert.throws(() => values.update([3, NaN]), /RangeError: .*return 1 is NaN/);
  assert.deepEqual(values.statistics, before);
  assert.throws(() => new ValueNormalizer(1), /RangeError: .*decay is 1/);
  const broken = { mean: NaN, square: 1, weight: 1 };
  assert.throws(() => new ValueNormalizer(0.9, broken), /RangeError: .*mean NaN/);
});

Deno.test("rescaleOutput() keeps a critic's answers in units of reward", () => {
  const scale = fc.record({
    mean: number,
    deviation: fc.double({ min: 0.1, max: 9, noNaN: true }),
  });
  fc.assert(
    fc.property(scale, scale, fc.array(fc.float({ min: -2, max: 2, noNaN: true })), (a, b, w) => {
      const layer = { kernel: Float32Array.from(w), bias: 0.5 };
      const answer = ({ kernel, bias }: typeof layer) =>
        kernel.reduce((sum, x, i) => sum + x * (i + 1), bias);
      const before = answer(layer) * a.deviation + a.mean;
      const after = answer(rescaleOutput(layer, a, b) as typeof layer) * b.deviation + b.mean;
      close(after, before, 1e-4);
    }),
    { numRuns: 50, seed: 2 },
  );
});

Deno.test("rescaleOutput() to units of reward is what the normaliser does with an answer", () => {
  const values = new ValueNormalizer();
  values.update([3, 9, -2]);
  const { kernel, bias } = rescaleOutput(
    { kernel: Float32Array.of(0.5), bias: -0.25 },
    values.scale,
    REWARD_SCALE,
  );
  close(kernel[0] * 2 + bias, values.denormalize(0.5 * 2 - 0.25), 1e-6);
});
