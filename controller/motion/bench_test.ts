import assert from "node:assert/strict";
import { benchMotion } from "./bench.ts";

Deno.test("benchMotion() measures cost and lateness of the cycles", async () => {
  const { cycles, costUs, latenessMs } = await benchMotion({ rateHz: 100, seconds: 0.3 });
  assert.ok(cycles >= 1);
  assert.ok(costUs.median > 0 && costUs.median <= costUs.p99 && costUs.p99 <= costUs.longest);
  assert.ok(
    latenessMs.median >= 0 && latenessMs.longest < 10,
    "a cycle never begins a period late",
  );
  await assert.rejects(benchMotion({ rateHz: 60, seconds: 1 }), RangeError);
});
