import assert from "node:assert/strict";
import { SilenceWatch } from "./silence_watch.ts";

Deno.test("SilenceWatch tells of a servo once it has not answered for 100 ms", () => {
  const watch = new SilenceWatch([1, 2], 0);
  for (let ms = 20; ms < 100; ms += 20) {
    watch.report(1, false, ms);
    watch.report(2, true, ms);
  }
  assert.deepEqual(watch.takeChanges(), { silent: [], heard: [] });
  watch.report(1, false, 100);
  assert.deepEqual(watch.takeChanges(), { silent: [1], heard: [] });
  watch.report(1, false, 120);
  assert.deepEqual(watch.takeChanges(), { silent: [], heard: [] });
  watch.report(1, true, 140);
  assert.deepEqual(watch.takeChanges(), { silent: [], heard: [1] });
});

Deno.test("SilenceWatch forgives a rare question two lost answers", () => {
  const watch = new SilenceWatch([3], 0);
  watch.report(3, false, 800);
  watch.report(3, false, 900);
  assert.deepEqual(watch.takeChanges().silent, []);
  watch.report(3, false, 1_000);
  assert.deepEqual(watch.takeChanges().silent, [3]);
});

Deno.test("SilenceWatch asks a silent servo every 100 ms only", () => {
  const watch = new SilenceWatch([1], 0);
  for (const ms of [50, 100, 150]) {
    assert.ok(watch.isToBeAsked(1, ms));
    watch.report(1, false, ms);
  }
  assert.ok(!watch.isToBeAsked(1, 200));
  assert.ok(watch.isToBeAsked(1, 250));
  watch.report(1, true, 250);
  assert.ok(watch.isToBeAsked(1, 251));
});

Deno.test("SilenceWatch does not count the time in which nobody was asked", () => {
  const watch = new SilenceWatch([1], 0);
  watch.resume(10_000);
  for (const ms of [10_010, 10_020, 10_030]) watch.report(1, false, ms);
  assert.deepEqual(watch.takeChanges().silent, []);
  watch.report(99, false, 20_000); // a servo of another bus changes nothing
  assert.deepEqual(watch.takeChanges().silent, []);
});
