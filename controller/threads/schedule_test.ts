import assert from "node:assert/strict";
import fc from "fast-check";
import { checkSchedule, deadlineMs, Deadlines, dueDeadline } from "./schedule.ts";

const EPOCH_MS = 1_790_000_000_000.25;
const AT_50_HZ = { epochMs: EPOCH_MS, periodMs: 20, phaseMs: -2 };

Deno.test("deadlineMs() counts from epoch and phase", () => {
  assert.equal(deadlineMs(AT_50_HZ, 0), EPOCH_MS - 2);
  assert.equal(deadlineMs(AT_50_HZ, 3), EPOCH_MS + 58);
  assert.equal(deadlineMs(AT_50_HZ, -1), EPOCH_MS - 22);
});

Deno.test("dueDeadline() is the last deadline that is not later than now", () => {
  assert.equal(dueDeadline(AT_50_HZ, EPOCH_MS - 2), 0);
  assert.equal(dueDeadline(AT_50_HZ, EPOCH_MS - 2.01), -1);
  assert.equal(dueDeadline(AT_50_HZ, EPOCH_MS + 17.99), 0);
  assert.equal(dueDeadline(AT_50_HZ, EPOCH_MS + 18), 1);
});

Deno.test("dueDeadline() agrees with deadlineMs() for any period and time", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.1, max: 100, noNaN: true }),
      fc.double({ min: -50, max: 50, noNaN: true }),
      fc.integer({ min: -1000, max: 1_000_000 }),
      (periodMs, phaseMs, index) => {
        const schedule = { epochMs: EPOCH_MS, periodMs, phaseMs };
        const atMs = deadlineMs(schedule, index);
        const due = dueDeadline(schedule, atMs);
        assert.ok(deadlineMs(schedule, due) <= atMs && deadlineMs(schedule, due + 1) > atMs);
        assert.equal(due, index);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("Deadlines begins with the next deadline, and not before its time", () => {
  const deadlines = new Deadlines(AT_50_HZ, EPOCH_MS + 5);
  assert.equal(deadlines.index, 1);
  assert.equal(deadlines.nextMs, EPOCH_MS + 18);
  assert.equal(deadlines.begin(EPOCH_MS + 17.9), -1);
  assert.equal(deadlines.index, 1);
  assert.equal(deadlines.begin(EPOCH_MS + 18), 0);
  assert.equal(deadlines.nextMs, EPOCH_MS + 38);
});

Deno.test("Deadlines skips and counts what is late, and makes nothing up", () => {
  const deadlines = new Deadlines(AT_50_HZ, EPOCH_MS);
  assert.equal(deadlines.begin(EPOCH_MS + 30), 0, "late, but before the deadline after it");
  assert.equal(deadlines.begin(EPOCH_MS + 38 + 61), 3);
  assert.equal(deadlines.missed, 3);
  assert.equal(deadlines.nextMs, EPOCH_MS + 118);
  assert.equal(deadlines.begin(EPOCH_MS + 99.5), -1, "nothing is made up");
  assert.equal(deadlines.begin(EPOCH_MS + 118), 0);
  assert.equal(deadlines.missed, 3);
});

Deno.test("Deadlines never drifts: a million late cycles end on the schedule", () => {
  const deadlines = new Deadlines({ ...AT_50_HZ, periodMs: 5 }, EPOCH_MS);
  for (let n = 0; n < 1_000_000; n++) deadlines.begin(deadlines.nextMs + (n % 40) / 10);
  assert.equal(deadlines.missed, 0);
  assert.equal(deadlines.nextMs, EPOCH_MS - 2 + 5 * 1_000_001);
});

Deno.test("checkSchedule() refuses periods and times that make no deadlines", () => {
  for (const periodMs of [0, -20, NaN, Infinity]) {
    assert.throws(() => checkSchedule({ ...AT_50_HZ, periodMs }), {
      name: "RangeError",
      message: /Cannot keep deadlines every/,
    });
  }
  assert.throws(() => new Deadlines({ ...AT_50_HZ, epochMs: NaN }, 0), RangeError);
});
