import assert from "node:assert/strict";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { warmUp } from "./warm_up.ts";

Deno.test("warmUp() runs at every rate, and refuses others", () => {
  for (const rateHz of [50, 100, 200]) warmUp({ limits: DEFAULT_LIMITS, rateHz });
  assert.throws(() => warmUp({ limits: DEFAULT_LIMITS, rateHz: 70 }), RangeError);
});
