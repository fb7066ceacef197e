import assert from "node:assert/strict";
import fc from "fast-check";
import type { ChunkSink, NewWeights } from "./control_loop.ts";
import { holdWeights } from "./held_weights.ts";

/** A sink that has the given versions, one a call; null where none came. */
function sinkOf(versions: readonly (number | null)[]): ChunkSink {
  const left = [...versions];
  return {
    takeLatestWeights(): NewWeights | null {
      const version = left.shift() ?? null;
      return version === null ? null : { version, tensors: [] };
    },
    hasCapacity: () => true,
    send: () => {},
    until: () => Promise.resolve(true),
  };
}

function taken(versions: readonly (number | null)[], hold: number): (number | null)[] {
  const sink = holdWeights(sinkOf(versions), hold);
  return versions.map(() => sink.takeLatestWeights()?.version ?? null);
}

Deno.test("holdWeights() stays so many versions behind, the first weights excepted", () => {
  const versions = [5, 6, null, 7, 8, 9];
  assert.deepEqual(taken(versions, 2), [5, null, null, null, 6, 7]);
  assert.deepEqual(taken(versions, 0), versions);
});

Deno.test("holdWeights() gives an older version where the wanted one was never seen", () => {
  assert.deepEqual(taken([0, 1, 4, 5], 2), [0, null, 1, null]);
  assert.deepEqual(taken([0, 1, 4, 9], 2), [0, null, 1, 4]);
});

Deno.test("holdWeights() begins anew with each connection", () => {
  let reconnects = 0;
  const sink = holdWeights(sinkOf([5, 6, 7, 9, 10, 11]), 2, () => reconnects);
  const next = () => sink.takeLatestWeights()?.version ?? null;
  assert.deepEqual([next(), next(), next()], [5, null, null]);
  reconnects++;
  assert.deepEqual([next(), next(), next()], [9, null, null]);
});

Deno.test("holdWeights() never gives a version twice, nor one that is too new", () => {
  const gaps = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(gaps, fc.integer({ min: 0, max: 5 }), (steps, hold) => {
      const versions = steps.map((_, i) => steps.slice(0, i + 1).reduce((a, b) => a + b));
      const out = taken(versions, hold);
      const given = out.filter((version) => version !== null);
      assert.deepEqual(given, [...new Set(given)].toSorted((a, b) => a - b));
      out.forEach((version, i) => {
        if (version !== null && i > 0) assert.ok(version <= versions[i] - hold);
      });
    }),
    { numRuns: 100 },
  );
});

Deno.test("holdWeights() leaves the rest of the way as it is", async () => {
  const sent: unknown[] = [];
  const sink = holdWeights(
    { ...sinkOf([]), hasCapacity: () => false, send: (t) => sent.push(t) },
    1,
  );
  assert.equal(sink.hasCapacity(), false);
  assert.equal(await sink.until(() => true, 1), true);
  sink.send(undefined as never);
  assert.equal(sent.length, 1);
});
