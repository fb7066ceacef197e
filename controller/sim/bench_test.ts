import assert from "node:assert/strict";
import { benchSimulation } from "./bench.ts";
import { TASK_NAMES } from "./task_names.ts";

Deno.test("benchSimulation() reports finite numbers for every task", async () => {
  const bench = await benchSimulation({ repeats: 1 });
  assert.deepEqual(Object.keys(bench), [...TASK_NAMES]);
  for (const timing of Object.values(bench)) {
    assert.ok(Object.values(timing).every((x) => Number.isFinite(x) && x > 0));
  }
});

Deno.test("benchSimulation() divides by the time that its clock tells", async () => {
  let ms = 0;
  const bench = await benchSimulation({ repeats: 3, now: () => ms++ });
  // Every control step of ten physics steps takes one tick of 1 ms.
  assert.equal(bench.reach.physicsStepsPerSecond, 10_000);
  assert.equal(bench.reach.render56Ms, 1);
});

Deno.test("benchSimulation() refuses repeats that are no count", async () => {
  await assert.rejects(benchSimulation({ repeats: 0 }), RangeError);
});
