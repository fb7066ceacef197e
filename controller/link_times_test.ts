import assert from "node:assert/strict";
import type { ChunkSink } from "./control_loop.ts";
import { TimedSink } from "./link_times.ts";

Deno.test("TimedSink hands everything on, and counts waiting, weights and sending apart", async () => {
  const calls: unknown[] = [];
  const way: ChunkSink = {
    takeLatestWeights: () => ({ version: 3, tensors: [] }),
    hasCapacity: () => false,
    send: (transition) => calls.push(transition),
    until: async (claim, timeoutMs) => {
      calls.push(timeoutMs);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return claim();
    },
  };
  const sink = new TimedSink(way);
  assert.equal(sink.takeLatestWeights()?.version, 3);
  assert.equal(sink.hasCapacity(), false);
  assert.deepEqual(sink.times, { waitMs: 0, weightsMs: 0, sendMs: 0 });
  assert.equal(await sink.until(() => true, 7), true);
  assert.ok(sink.times.waitMs > 0);
  assert.equal(sink.times.sendMs, 0);
  const chunk = {} as Parameters<ChunkSink["send"]>[0];
  sink.send(chunk);
  sink.timed("weightsMs", () => calls.push("weights"));
  assert.deepEqual(calls, [7, chunk, "weights"]);
  assert.ok(sink.times.sendMs >= 0 && sink.times.weightsMs >= 0);
});
