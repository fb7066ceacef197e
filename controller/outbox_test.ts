import assert from "node:assert/strict";
import fc from "fast-check";
import { sampleTransition } from "../common/wire/testing.ts";
import { Outbox } from "./outbox.ts";

function filled(capacity: number, chunks: number): Outbox {
  const outbox = new Outbox(capacity);
  for (let index = 0; index < chunks; index++) outbox.push(sampleTransition(index), 10);
  return outbox;
}

const idsOf = (outbox: Outbox, chunks: number, bytes = Infinity) =>
  outbox.takeBatch(chunks, bytes).transitions.map(({ chunkIndex }) => chunkIndex);

Deno.test("Outbox drops the oldest chunk when it is full, and counts it", () => {
  const outbox = filled(3, 5);
  assert.equal(outbox.size, 3);
  assert.equal(outbox.dropped, 2);
  assert.deepEqual(idsOf(outbox, 9), [2, 3, 4]);
});

Deno.test("Outbox.takeBatch() gives each chunk once, within count and bytes", () => {
  const outbox = filled(10, 6);
  assert.deepEqual(idsOf(outbox, 2), [0, 1]);
  assert.deepEqual(idsOf(outbox, 9, 25), [2, 3]);
  assert.deepEqual(idsOf(outbox, 9, 1), [4]);
  assert.equal(outbox.inFlight, 5);
});

Deno.test("Outbox.rewind() makes unanswered chunks wait again in their order", () => {
  const outbox = filled(10, 4);
  outbox.takeBatch(3, Infinity);
  assert.equal(outbox.acknowledge(["chunk-1", "chunk-9"]), 1);
  outbox.rewind();
  assert.equal(outbox.inFlight, 0);
  const { transitions, resent } = outbox.takeBatch(9, Infinity);
  assert.deepEqual(transitions.map(({ chunkIndex }) => chunkIndex), [0, 2, 3]);
  assert.equal(resent, 2);
});

Deno.test("Outbox refuses an id that it holds and a capacity that is not positive", () => {
  assert.throws(() => filled(3, 1).push(sampleTransition(0), 10), /"chunk-0": its id is queued/);
  assert.throws(() => new Outbox(0), /Cannot hold 0 chunks/);
});

Deno.test("Outbox loses no chunk but the dropped ones, whatever happens", () => {
  const step = fc.oneof(
    fc.constant("push" as const),
    fc.constant("take" as const),
    fc.constant("rewind" as const),
    fc.nat({ max: 60 }),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 8 }),
      (steps, capacity) => {
        const outbox = new Outbox(capacity);
        let pushed = 0;
        let acknowledged = 0;
        for (const what of steps) {
          if (what === "push") outbox.push(sampleTransition(pushed++), 1);
          else if (what === "take") outbox.takeBatch(2, Infinity);
          else if (what === "rewind") outbox.rewind();
          else acknowledged += outbox.acknowledge([`chunk-${what}`]);
          assert.equal(outbox.size + outbox.dropped + acknowledged, pushed);
          assert.ok(
            outbox.size <= capacity && outbox.inFlight >= 0 && outbox.inFlight <= outbox.size,
          );
        }
        outbox.rewind();
        const rest = idsOf(outbox, 100);
        assert.equal(rest.length, outbox.size);
        assert.deepEqual(rest, rest.toSorted((a, b) => a - b));
      },
    ),
    { numRuns: 100 },
  );
});
