import assert from "node:assert/strict";
import fc from "fast-check";
import { Schedule } from "./schedule.ts";

Deno.test("Schedule keeps to absolute deadlines, however late a cycle begins", () => {
  const schedule = new Schedule(1_000, 20);
  schedule.start(1_005);
  assert.equal(schedule.dueMs, 1_020);
  assert.equal(schedule.begin(1_023), 3);
  schedule.end(1_030);
  assert.deepEqual([schedule.dueMs, schedule.missed], [1_040, 0]);
  assert.equal(schedule.begin(1_050), 10, "half a period late is not too late");
  schedule.end(1_055);
  assert.deepEqual([schedule.dueMs, schedule.missed], [1_060, 0]);
});

Deno.test("Schedule skips deadlines that were slept through, and counts them", () => {
  const schedule = new Schedule(0, 20);
  schedule.start(0);
  assert.equal(schedule.dueMs, 20);
  assert.equal(schedule.begin(31), undefined);
  assert.deepEqual([schedule.dueMs, schedule.missed], [40, 1]);
  assert.equal(schedule.begin(105), undefined);
  assert.deepEqual([schedule.dueMs, schedule.missed], [120, 5]);
});

Deno.test("Schedule skips deadlines that pass during an exchange", () => {
  const schedule = new Schedule(0, 5);
  schedule.start(-1);
  assert.equal(schedule.dueMs, 0);
  assert.equal(schedule.begin(0.1), 0.1);
  schedule.end(5.5);
  assert.deepEqual([schedule.dueMs, schedule.missed], [10, 1]);
  assert.equal(schedule.begin(10), 0);
  schedule.end(14.9);
  assert.deepEqual([schedule.dueMs, schedule.missed], [15, 1]);
});

Deno.test("Schedule counts every deadline once: run or missed, and never two in a burst", () => {
  const wait = fc.double({ min: 0, max: 40, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(wait, wait), { maxLength: 40 }), (cycles) => {
      const schedule = new Schedule(3, 20);
      schedule.start(0);
      const first = schedule.dueMs;
      let now = 0;
      let ran = 0;
      let lastBegin = -Infinity;
      for (const [late, exchange] of cycles) {
        now = Math.max(now, schedule.dueMs) + late;
        if (schedule.begin(now) === undefined) continue;
        assert.ok(now - lastBegin >= 10 - 1e-9, `${now - lastBegin} ms after the one before`);
        lastBegin = now;
        ran++;
        now += exchange;
        schedule.end(now);
        assert.ok(schedule.dueMs > now);
      }
      assert.equal(schedule.dueMs, first + 20 * (ran + schedule.missed));
    }),
    { numRuns: 100 },
  );
});

Deno.test("Schedule refuses a period that is none", () => {
  assert.throws(() => new Schedule(0, 0), /Cannot schedule cycles every 0 ms/);
  assert.throws(() => new Schedule(NaN, 20), RangeError);
  assert.throws(() => new Schedule(0, Infinity), RangeError);
});
