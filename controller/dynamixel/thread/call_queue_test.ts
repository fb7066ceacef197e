import assert from "node:assert/strict";
import { CallQueue } from "./call_queue.ts";
import type { Failure } from "./messages.ts";

/** A queue on a clock of its own, whose calls take as long as they are told. */
function makeQueue(takesMs: (call: number) => number = () => 1, answers = true) {
  const clock = { nowMs: 0 };
  const performed: number[] = [];
  const rejected: [number, Failure][] = [];
  const queue = new CallQueue({
    now: () => clock.nowMs,
    perform: ({ call }) => {
      performed.push(call);
      clock.nowMs += takesMs(call);
      return answers;
    },
    reject: (call, failure) => rejected.push([call, failure]),
  });
  const push = (call: number) => queue.push({ call, request: { kind: "ping", id: 1 } });
  return { queue, clock, performed, rejected, push };
}

Deno.test("CallQueue carries out what fits before the deadline, in the order of coming", () => {
  const { queue, clock, performed, push } = makeQueue();
  for (const call of [1, 2, 3, 4]) push(call);
  assert.equal(queue.serve(3.5), 3);
  assert.deepEqual([performed, queue.size, clock.nowMs], [[1, 2, 3], 1, 3]);
  push(5);
  assert.equal(queue.serve(Infinity, 1), 1);
  assert.equal(queue.serve(Infinity), 1);
  assert.equal(queue.serve(Infinity), 0);
});

Deno.test("CallQueue lets no call wait for ever, and makes up only one at a time", () => {
  const { queue, clock, performed, push } = makeQueue();
  push(1);
  push(2);
  for (clock.nowMs = 0; clock.nowMs < 49; clock.nowMs += 5) {
    assert.equal(queue.serve(clock.nowMs + 0.5), 0);
  }
  clock.nowMs = 50;
  assert.equal(queue.serve(50.5), 1);
  assert.deepEqual(performed, [1]);
  assert.equal(queue.serve(clock.nowMs + 0.5), 1);
  assert.deepEqual(performed, [1, 2]);
});

Deno.test("CallQueue learns how long calls take, and forgets a slow one", () => {
  const { queue, clock, push } = makeQueue((call) => call === 1 ? 4 : 0.5);
  push(1);
  queue.serve(Infinity);
  push(2);
  assert.equal(queue.serve(clock.nowMs + 3.9), 0, "the last one took 4 ms");
  assert.equal(queue.serve(clock.nowMs + 4), 1);
  for (let call = 3; call < 20; call++) {
    push(call);
    queue.serve(Infinity);
  }
  push(20);
  assert.equal(queue.serve(clock.nowMs + 1), 1);
});

Deno.test("CallQueue does not take the wait for a missing servo for the time of a call", () => {
  const { queue, clock, push } = makeQueue(() => 13, false);
  push(1);
  queue.serve(Infinity);
  push(2);
  assert.equal(queue.serve(clock.nowMs + 1.5), 1);
});

Deno.test("CallQueue is bounded, and can reject all that wait", () => {
  const { queue, rejected, push } = makeQueue();
  for (let call = 0; call < 1_025; call++) push(call);
  assert.equal(queue.size, 1_024);
  assert.equal(rejected.length, 1);
  assert.deepEqual([rejected[0][0], rejected[0][1].fault], [1_024, "busy"]);
  queue.rejectAll({ message: "gone", fault: "device" });
  assert.deepEqual([queue.size, rejected.length], [0, 1_025]);
  assert.deepEqual(rejected[1], [0, { message: "gone", fault: "device" }]);
});
