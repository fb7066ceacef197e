import assert from "node:assert/strict";
import fc from "fast-check";
import { randomSource } from "../tokenizer/testing.ts";
import { drawToken } from "./sampling.ts";

const logits = Float32Array.of(9, 9, 9, 9, 0.5, -1, 2, 0.1); // the second row counts
const allowed = Uint8Array.of(1, 1, 0, 1);

/** The masked softmax by its definition. */
function probabilities(temperature: number): number[] {
  const weights = [...allowed].map((x, i) => x * Math.exp(logits[4 + i] / temperature));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((w) => w / sum);
}

for (const temperature of [1, 0.7]) {
  Deno.test(`drawToken() draws as often as the masked softmax says at temperature ${temperature}`, () => {
    const random = randomSource(1);
    const n = 20_000;
    const counts = [0, 0, 0, 0];
    const expected = probabilities(temperature);
    const entropy = expected.reduce((h, p) => h - (p > 0 ? p * Math.log(p) : 0), 0);
    for (let i = 0; i < n; i++) {
      const draw = drawToken(logits, 1, allowed, temperature, random);
      counts[draw.token]++;
      assert.ok(Math.abs(draw.logProb - Math.log(expected[draw.token])) < 1e-6);
      assert.ok(Math.abs(draw.entropy - entropy) < 1e-6);
    }
    assert.equal(counts[2], 0);
    const chiSquare = counts.reduce(
      (sum, c, i) => sum + (expected[i] > 0 ? (c - n * expected[i]) ** 2 / (n * expected[i]) : 0),
      0,
    );
    assert.ok(chiSquare < 13.8, `chi square ${chiSquare}: 1 in 1000 with 2 degrees of freedom`);
  });
}

Deno.test("drawToken() takes the best allowed token at temperature 0, at temperature 1's log-probability", () => {
  const never = () => assert.fail("greedy decoding draws no numbers");
  const draw = drawToken(logits, 1, allowed, 0, never);
  assert.equal(draw.token, 0);
  assert.ok(Math.abs(draw.logProb - Math.log(probabilities(1)[0])) < 1e-6);
});

Deno.test("drawToken() draws only what is allowed and possible, whatever the random number", () => {
  const edge = fc.constantFrom(0, 1 - 2 ** -32, 0.5);
  const logit = fc.oneof(fc.float({ min: -50, max: 50, noNaN: true }), fc.constant(-3e38));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(logit, fc.boolean()), { minLength: 1, maxLength: 9 }),
      fc.oneof(edge, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (tokens, random) => {
        fc.pre(tokens.some(([, isAllowed]) => isAllowed));
        const row = Float32Array.from(tokens, ([x]) => x);
        const mask = Uint8Array.from(tokens, ([, isAllowed]) => (isAllowed ? 1 : 0));
        const draw = drawToken(row, 0, mask, 1, () => random);
        assert.equal(mask[draw.token], 1);
        assert.ok(draw.logProb <= 1e-12 && draw.logProb > -200, `log-probability ${draw.logProb}`);
        assert.ok(draw.entropy >= -1e-9 && draw.entropy <= Math.log(tokens.length) + 1e-9);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("drawToken() does not draw a token whose probability has underflowed to 0", () => {
  const row = Float32Array.of(-3e38, 1, 2, -3e38);
  const all = new Uint8Array(4).fill(1);
  // The ends of the interval; 1 stands for what rounding may leave over after the last token.
  assert.equal(drawToken(row, 0, all, 1, () => 0).token, 1);
  assert.equal(drawToken(row, 0, all, 1, () => 1).token, 2);
});

Deno.test("drawToken() says so when nothing is allowed", () => {
  assert.throws(() => drawToken(logits, 0, new Uint8Array(4), 1, () => 0), {
    name: "RangeError",
    message: "Cannot draw a token: the grammar allows none",
  });
});
