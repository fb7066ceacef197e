import assert from "node:assert/strict";
import fc from "fast-check";
import { CaptureClock } from "./capture_clock.ts";

function stamps(rateHz: number, arrivals: readonly number[]): number[] {
  const clock = new CaptureClock(rateHz);
  return arrivals.map((arrivalMs) => clock.stamp(arrivalMs));
}

Deno.test("CaptureClock takes a steady picture's arrival for its capture", () => {
  const arrivals = [5, 103, 210, 290, 480, 700]; // one and two were left out at the end
  assert.deepEqual(stamps(10, arrivals), arrivals);
});

Deno.test("CaptureClock tells the age of pictures that waited behind a pause", () => {
  // 10 Hz; nobody read from 100 to 1000: nine pictures had waited, the next one had not.
  const burst = Array.from({ length: 9 }, (_, i) => 1_000 + i);
  assert.deepEqual(
    stamps(10, [0, 100, ...burst, 1_100]),
    [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000, 1_100],
  );
});

Deno.test("CaptureClock trusts the first picture that did not wait", () => {
  // The driver had room for one picture only.
  assert.deepEqual(stamps(10, [0, 2_000, 2_060, 2_160]), [0, 100, 2_060, 2_160]);
});

Deno.test("CaptureClock does not fall behind with a camera much slower than asked", () => {
  const arrivals = Array.from({ length: 50 }, (_, i) => i * 500);
  const ages = stamps(10, arrivals).map((stamp, i) => arrivals[i] - stamp);
  assert.deepEqual(ages, [0, ...Array(49).fill(400)]);
});

Deno.test("CaptureClock never stamps after the arrival nor before the last picture", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 240 }),
      fc.array(fc.double({ min: 0, max: 1_000, noNaN: true }), { maxLength: 50 }),
      (rateHz, gaps) => {
        const clock = new CaptureClock(rateHz);
        let arrivalMs = 0;
        let last = -Infinity;
        for (const gap of gaps) {
          arrivalMs += gap;
          const stampMs = clock.stamp(arrivalMs);
          assert.ok(stampMs <= arrivalMs && stampMs >= last);
          last = stampMs;
        }
      },
    ),
    { numRuns: 200 },
  );
});
