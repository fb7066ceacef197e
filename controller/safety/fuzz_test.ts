import assert from "node:assert/strict";
import { fuzzCommandFilter } from "./fuzz.ts";

const NOTHING_BROKEN = {
  finite: 0,
  position: 0,
  velocity: 0,
  acceleration: 0,
  step: 0,
  stopping: 0,
  workspace: 0,
};

Deno.test("filterCommand() keeps 75,000 random commands in mixed cycles inside every limit", () => {
  const findings = fuzzCommandFilter({ count: 75_000, seed: 1, cycleS: "mixed" });
  assert.deepEqual(findings.violations, NOTHING_BROKEN, findings.examples.join("\n"));
  assert.equal(findings.counts.commands, 75_000);
  assert.equal(findings.counts.byKind.not_finite, findings.notFinite);
  assert.ok(findings.notFinite > 300 && findings.holds > 300);
});

Deno.test("filterCommand() keeps 25,000 random commands at 50 Hz exactly clear", () => {
  const findings = fuzzCommandFilter({ count: 25_000, seed: 2, cycleS: 0.02 });
  assert.deepEqual(findings.violations, NOTHING_BROKEN, findings.examples.join("\n"));
  // The attack is worth something only if it reaches every limit.
  for (const share of Object.values(findings.largestShare)) assert.ok(share > 0.6);
  for (const count of Object.values(findings.counts.byKind)) assert.ok(count > 0);
});

Deno.test("fuzzCommandFilter() finds the same for the same seed, and refuses a count of 0", () => {
  const run = (seed: number) => fuzzCommandFilter({ count: 500, seed, cycleS: "mixed" });
  assert.deepEqual(run(3), run(3));
  assert.notDeepEqual(run(3), run(4));
  assert.throws(
    () => fuzzCommandFilter({ count: 0, seed: 1, cycleS: 0.02 }),
    /Cannot fuzz with 0 commands/,
  );
});
