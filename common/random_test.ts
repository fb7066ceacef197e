import assert from "node:assert/strict";
import { normal, seededRandom, uniform } from "./random.ts";

Deno.test("seededRandom() repeats itself for a seed and differs between neighbours", () => {
  const draw = (seed: number) => Array.from({ length: 5 }, seededRandom(seed));
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
});

Deno.test("seededRandom()'s first numbers are uniform over consecutive seeds", () => {
  const firsts = Array.from({ length: 2000 }, (_, seed) => seededRandom(seed)());
  const bins = new Array<number>(10).fill(0);
  for (const x of firsts) bins[Math.floor(10 * x)]++;
  // Binomial(2000, 0.1) has a standard deviation of 13.4.
  assert.ok(bins.every((count) => Math.abs(count - 200) < 60), `${bins}`);
});

Deno.test("seededRandom() refuses a seed that is no integer", () => {
  assert.throws(() => seededRandom(0.5), { name: "RangeError", message: /seed is 0.5/ });
  assert.throws(() => seededRandom(NaN), RangeError);
});

Deno.test("uniform() and normal() have the right mean and spread", () => {
  const random = seededRandom(1);
  const n = 20_000;
  const mean = (xs: number[]) => xs.reduce((a, b) => a + b) / xs.length;
  const u = Array.from({ length: n }, () => uniform(random, -1, 3));
  assert.ok(Math.min(...u) >= -1 && Math.max(...u) < 3);
  assert.ok(Math.abs(mean(u) - 1) < 0.05);
  const g = Array.from({ length: n }, () => normal(random));
  assert.ok(Math.abs(mean(g)) < 0.05);
  assert.ok(Math.abs(mean(g.map((x) => x * x)) - 1) < 0.05);
});
