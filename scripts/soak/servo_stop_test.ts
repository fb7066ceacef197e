import assert from "node:assert/strict";
import fc from "fast-check";
import { hasMoved, lastChangeMs, type PositionSamples, stillFromMs } from "./servo_stop.ts";

/** One sample a ms of one servo that takes these places. */
function samplesOf(places: readonly number[], fromMs = 0): PositionSamples {
  return {
    timesMs: Float64Array.from(places, (_, i) => fromMs + i),
    ticks: Int32Array.from(places),
  };
}

const WINDOW = { lengthMs: 20, ticks: 2 };

Deno.test("lastChangeMs() finds the last change of any servo", () => {
  const samples = {
    timesMs: Float64Array.of(10, 11, 12, 13),
    ticks: Int32Array.of(5, 7, 5, 7, 5, 8, 5, 8),
  };
  assert.equal(lastChangeMs(samples, 10), 12);
  assert.equal(lastChangeMs(samples, 12), 12);
  assert.equal(lastChangeMs(samples, 12.5), 12.5, "what came before does not count");
});

Deno.test("stillFromMs() is the first moment after which no window holds motion", () => {
  const moving = Array.from({ length: 30 }, (_, i) => 10 * i);
  const standing = Array.from({ length: 60 }, () => 290);
  assert.equal(stillFromMs(samplesOf([...moving, ...standing]), 0, WINDOW), 29);
});

Deno.test("stillFromMs() takes trembling within its ticks for rest", () => {
  const trembling = Array.from({ length: 60 }, (_, i) => 100 + (i % 3));
  assert.equal(stillFromMs(samplesOf(trembling), 5, WINDOW), 5);
});

Deno.test("stillFromMs() sees slow motion that each sample hides", () => {
  const creeping = Array.from({ length: 100 }, (_, i) => Math.floor(i / 5));
  assert.ok(Number.isNaN(stillFromMs(samplesOf(creeping), 0, WINDOW)));
});

Deno.test("stillFromMs() is NaN when the samples end before a whole window of rest", () => {
  const places = [...Array.from({ length: 30 }, (_, i) => 10 * i), 290, 290, 290];
  assert.ok(Number.isNaN(stillFromMs(samplesOf(places), 0, WINDOW)));
});

Deno.test("hasMoved() looks between its times only", () => {
  const samples = samplesOf([1, 1, 2, 2, 2]);
  assert.ok(hasMoved(samples, 0, 4));
  assert.ok(!hasMoved(samples, 2, 4));
  assert.ok(!hasMoved(samples, 0, 1));
});

Deno.test("after the last change servos are still, whatever they did before", () => {
  const places = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(places, (before) => {
      const rest = Array.from({ length: 30 }, () => before[before.length - 1]);
      const samples = samplesOf([...before, ...rest]);
      const still = stillFromMs(samples, 0, WINDOW);
      assert.ok(still <= lastChangeMs(samples, 0), `${still}`);
    }),
    { numRuns: 100 },
  );
});
