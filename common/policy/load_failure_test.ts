import assert from "node:assert/strict";
import { loadFailurePolicy } from "./load_failure.ts";

Deno.test("loadFailurePolicy() falls back in simulation unless told to abort", () => {
  assert.equal(loadFailurePolicy("simulated", "auto"), "random");
  assert.equal(loadFailurePolicy("simulated", "random"), "random");
  assert.equal(loadFailurePolicy("simulated", "abort"), "abort");
});

Deno.test("loadFailurePolicy() lets a real robot only abort", () => {
  assert.equal(loadFailurePolicy("real", "auto"), "abort");
  assert.equal(loadFailurePolicy("real", "abort"), "abort");
  assert.throws(() => loadFailurePolicy("real", "random"), {
    name: "RangeError",
    message: /^Cannot use --on-load-failure random with a real robot: /,
  });
});
