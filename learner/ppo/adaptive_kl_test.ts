import assert from "node:assert/strict";
import fc from "fast-check";
import { KL_RULES, nextKlWeight } from "./adaptive_kl.ts";

Deno.test("nextKlWeight() moves by at most a fiftieth and in proportion within a fifth", () => {
  const close = (x: number, y: number) => assert.ok(Math.abs(x - y) < 1e-12, `${x} is not ${y}`);
  close(nextKlWeight(2, 0.011, { target: 0.01 }), 2 * 1.01); // e = 0.1, K = 0.1
  close(nextKlWeight(2, 9, { target: 0.01 }), 2 * 1.02);
  close(nextKlWeight(2, 0, { target: 0.01 }), 2 * 0.98);
  close(nextKlWeight(2, 0.01, { target: 0.01 }), 2);
  close(nextKlWeight(2, 9, { target: 0.01, gain: 1 }), 2 * 1.2);
});

Deno.test("nextKlWeight() by doubling acts only outside its band", () => {
  const options = { target: 0.01, rule: "doubling" } as const;
  assert.equal(nextKlWeight(2, 0.016, options), 4);
  assert.equal(nextKlWeight(2, 0.006, options), 1);
  for (const kl of [0.007, 0.01, 0.0149]) assert.equal(nextKlWeight(2, kl, options), 2);
});

Deno.test("nextKlWeight() never falls with a larger KL and stays within its bounds", () => {
  const kls = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(kls, kls, fc.constantFrom(...KL_RULES), (a, b, rule) => {
      const options = { target: 0.1, rule, minWeight: 0.5, maxWeight: 1.5 };
      const [low, high] = [a, b].sort((x, y) => x - y).map((kl) => nextKlWeight(1, kl, options));
      assert.ok(low <= high && low >= 0.5 && high <= 1.5);
    }),
    { numRuns: 60, seed: 1 },
  );
});

Deno.test("nextKlWeight() holds the KL of a policy that yields to it at the target", () => {
  for (const rule of KL_RULES) {
    let weight = 0.01;
    const klOf = (w: number) => 0.05 / (w + 0.1);
    for (let i = 0; i < 400; i++) {
      weight = nextKlWeight(weight, klOf(weight), { target: 0.1, rule, gain: 0.3 });
    }
    const band = rule === "doubling" ? 1.6 : 1.02;
    assert.ok(klOf(weight) < 0.1 * band && klOf(weight) > 0.1 / band, `${rule}: ${klOf(weight)}`);
  }
});

Deno.test("nextKlWeight() leaves the weight alone after a skipped update and refuses bad settings", () => {
  assert.equal(nextKlWeight(3, NaN, { target: 0.1 }), 3);
  assert.equal(nextKlWeight(0, 0.1, { target: 0.1 }), 1e-4);
  assert.throws(() => nextKlWeight(1, 0, { target: 0 }), /RangeError: .*target is 0/);
  assert.throws(() => nextKlWeight(1, 0, { target: 1, minWeight: 0 }), /RangeError: .*bounds/);
});
