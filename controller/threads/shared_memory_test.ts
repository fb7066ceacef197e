import assert from "node:assert/strict";
import { yieldToEventLoop } from "../../common/yield_to_event_loop.ts";
import { sharedNowMs } from "./clock.ts";
import { createRecordMemory, SharedRecord } from "./shared_record.ts";
import { createRingMemory, SharedRing } from "./shared_ring.ts";
import type { WriterOrder } from "./shared_record_writer_worker.ts";

const LENGTH = 40;

Deno.test("SharedRecord gives back every kind of double that was written", () => {
  const memory = createRecordMemory(6);
  const record = new SharedRecord(memory), reader = new SharedRecord(memory);
  const values = [0, -0, NaN, -Infinity, Number.MIN_VALUE, 1795402882008.8645];
  record.write(values);
  const read = new Float64Array(6);
  assert.equal(reader.read(read), true);
  assert.deepEqual([...read], values);
});

Deno.test("SharedRecord reads nothing before the first writing", () => {
  const out = Float64Array.of(7, 7);
  assert.equal(new SharedRecord(createRecordMemory(2)).read(out), false);
  assert.deepEqual([...out], [7, 7]);
});

Deno.test("SharedRecord keeps what a shorter writing leaves out", () => {
  const record = new SharedRecord(createRecordMemory(3));
  record.write([1, 2, 3]);
  record.write([9]);
  const read = new Float64Array(3);
  record.read(read);
  assert.deepEqual([...read], [9, 2, 3]);
});

Deno.test("SharedRecord gives up on a writer that stands still midway", () => {
  const memory = createRecordMemory(1);
  const record = new SharedRecord(memory);
  record.write([1]);
  Atomics.store(new Int32Array(memory), 0, 3);
  assert.equal(record.read(new Float64Array(1)), false);
});

Deno.test("a record and a ring written by another thread are never seen half-written", async () => {
  const ROWS = 20_000;
  const order: WriterOrder = {
    record: createRecordMemory(LENGTH),
    ring: createRingMemory(LENGTH, 64),
    rows: ROWS,
  };
  const record = new SharedRecord(order.record), ring = new SharedRing(order.ring);
  const worker = new Worker(new URL("./shared_record_writer_worker.ts", import.meta.url), {
    type: "module",
  });
  const done = Promise.withResolvers<void>();
  worker.onmessage = () => done.resolve();
  worker.postMessage(order);
  const row = new Float64Array(LENGTH), taken = new Float64Array(LENGTH);
  let last = 0, seen = 0;
  while (seen < ROWS) {
    if (record.read(row)) {
      assert.ok(row.every((value) => value === row[0]), `torn record: ${row.join(" ")}`);
      assert.ok(row[0] >= last, `the record went back from ${last} to ${row[0]}`);
      last = row[0];
    }
    while (ring.take(taken)) {
      seen++;
      assert.ok(taken.every((value) => value === seen + 0.25), `torn row: ${taken.join(" ")}`);
    }
    await yieldToEventLoop();
  }
  await done.promise;
  worker.terminate();
});

Deno.test("SharedRing refuses and counts what a full ring cannot hold, and goes on in order", () => {
  const ring = new SharedRing(createRingMemory(1, 4));
  const pushed = [1, 2, 3, 4, 5].map((value) => ring.push(Float64Array.of(value)));
  assert.deepEqual(pushed, [true, true, true, true, false]);
  assert.equal(ring.dropped, 1);
  const out = new Float64Array(1);
  ring.take(out);
  assert.equal(out[0], 1);
  assert.equal(ring.push(Float64Array.of(6)), true);
  const rest: number[] = [];
  while (ring.take(out)) rest.push(out[0]);
  assert.deepEqual(rest, [2, 3, 4, 6]);
});

Deno.test("createRingMemory() wants a power of two", () => {
  assert.throws(() => createRingMemory(1, 6), { name: "RangeError", message: /6 rows/ });
});

Deno.test("sharedNowMs() is the time of day and does not go back", () => {
  const before = sharedNowMs();
  assert.ok(Math.abs(before - Date.now()) < 60_000);
  assert.ok(sharedNowMs() >= before);
});
