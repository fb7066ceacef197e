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

Deno.test("SharedRecord takes a writing that is shorter than the record", () => {
  const record = new SharedRecord(createRecordMemory(3));
  record.write([1, 2, 3]);
  record.write([9]);
  const read = new Float64Array(3);
  assert.equal(record.read(read), true);
  assert.equal(read[0], 9);
});

Deno.test("SharedRecord goes on when its count goes through the end of its 32 bits", () => {
  const memory = createRecordMemory(2);
  const record = new SharedRecord(memory);
  Atomics.store(new Int32Array(memory), 0, 2 ** 31 - 2);
  for (let value = 1; value < 5; value++) {
    record.write([value, -value]);
    const read = new Float64Array(2);
    assert.equal(record.read(read), true);
    assert.deepEqual([...read], [value, -value]);
  }
});

/** Run `step` after each call of one of the functions of Atomics while `action` goes on. */
function interrupt(name: "store" | "load", action: () => void, step: () => void): number {
  const original = Atomics[name] as (...args: unknown[]) => unknown;
  const replace = (fn: unknown) => Object.assign(Atomics, { [name]: fn });
  let steps = 0;
  const interrupted = (...args: unknown[]) => {
    const result = original(...args);
    steps++;
    replace(original);
    step();
    replace(interrupted);
    return result;
  };
  replace(interrupted);
  try {
    action();
  } finally {
    replace(original);
  }
  return steps;
}

Deno.test("a writer of a SharedRecord that is stopped anywhere keeps nobody from reading", () => {
  const memory = createRecordMemory(3);
  const writer = new SharedRecord(memory), reader = new SharedRecord(memory);
  const out = new Float64Array(3);
  writer.write([1, 1, 1]);
  for (let value = 2; value < 6; value++) {
    const seen: number[] = [];
    const steps = interrupt("store", () => writer.write([value, value, value]), () => {
      assert.equal(reader.read(out), true);
      assert.deepEqual([...out], [out[0], out[0], out[0]]);
      seen.push(out[0]);
    });
    assert.equal(steps, 2 * 3 + 1);
    assert.deepEqual(seen, [...new Array(6).fill(value - 1), value]);
  }
});

Deno.test("a reader of a SharedRecord that is overtaken anywhere reads one writing", () => {
  const memory = createRecordMemory(3);
  const writer = new SharedRecord(memory), reader = new SharedRecord(memory);
  const out = new Float64Array(3);
  let value = 1;
  const write = () => writer.write(new Array(3).fill(++value));
  write();
  for (const writings of [1, 2, 3]) {
    for (let at = 1; at <= 8; at++) {
      let step = 0;
      const before = value;
      interrupt("load", () => assert.equal(reader.read(out), true), () => {
        if (++step === at) { for (let n = 0; n < writings; n++) write(); }
      });
      assert.deepEqual([...out], [out[0], out[0], out[0]]);
      assert.ok(out[0] === before || out[0] === value, `${out[0]} of ${before} and ${value}`);
    }
  }
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
