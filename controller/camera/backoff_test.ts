import assert from "node:assert/strict";
import fc from "fast-check";
import { BACKOFF_CAP_MS, backoffMs, pause } from "./backoff.ts";

Deno.test("backoffMs() doubles from 0.2 s to 10 s", () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8, 2000].map((failures) => backoffMs(failures, () => 0));
  assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
});

Deno.test("backoffMs() takes off a quarter at most", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (failures, uniform) => {
        const full = backoffMs(failures, () => 0);
        const wait = backoffMs(failures, () => uniform);
        assert.ok(wait <= full && wait > full * 0.7499 && full <= BACKOFF_CAP_MS);
      },
    ),
    { numRuns: 100 },
  );
});

Deno.test("pause() ends when its signal is aborted, before or meanwhile", async () => {
  const controller = new AbortController();
  const waiting = pause(60_000, controller.signal);
  controller.abort();
  await waiting;
  await pause(60_000, controller.signal);
  await pause(1, new AbortController().signal);
});
