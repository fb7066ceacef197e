import assert from "node:assert/strict";
import { createBusMemory, JITTER_CLASSES } from "./bus_memory.ts";
import { jitterPercentile, readBusCounters, readBusHealth, readBusState } from "./bus_readings.ts";
import { CounterRecord } from "./counter_record.ts";

Deno.test("readBusState() and its like know that nothing was written yet", () => {
  const memory = createBusMemory();
  assert.equal(readBusState(memory), null);
  assert.equal(readBusHealth(memory), null);
  const counters = readBusCounters(memory);
  assert.deepEqual([counters.cycles, counters.jitter.length], [0, JITTER_CLASSES]);
  assert.equal(jitterPercentile(counters, 0.5), 0);
});

Deno.test("readBusCounters() reads what was counted", () => {
  const memory = createBusMemory();
  const record = new CounterRecord(memory.counters);
  record.add("cycles", 3);
  record.set("lastMovedMs", 1.5);
  for (const lateMs of [-0.01, 0.05, 0.15, 19.95, 500]) record.addJitter(lateMs);
  assert.equal(readBusCounters(memory).cycles, 0, "not published yet");
  record.publish();
  const { cycles, lastMovedMs, jitter } = readBusCounters(memory);
  assert.deepEqual([cycles, lastMovedMs], [3, 1.5]);
  assert.deepEqual([jitter[0], jitter[1], jitter[JITTER_CLASSES - 1]], [2, 1, 2]);
  record.reset();
  assert.equal(readBusCounters(memory).cycles, 0);
});

Deno.test("jitterPercentile() is the upper edge of a class", () => {
  const jitter = Array.from({ length: JITTER_CLASSES }, () => 0);
  [jitter[0], jitter[1], jitter[20]] = [900, 99, 1];
  const counters = { jitter };
  const near = (quantile: number, ms: number) =>
    assert.ok(Math.abs(jitterPercentile(counters, quantile) - ms) < 1e-9, `${quantile}`);
  near(0.5, 0.1);
  near(0.9, 0.1);
  near(0.99, 0.2);
  near(0.999, 0.2);
  near(1, 2.1);
  jitter[JITTER_CLASSES - 1] = 1;
  assert.equal(jitterPercentile(counters, 1), Infinity);
  for (const quantile of [0, -1, 1.1, NaN]) {
    assert.throws(() => jitterPercentile(counters, quantile), RangeError);
  }
});
