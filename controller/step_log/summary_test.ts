import assert from "node:assert/strict";
import { resetState } from "../../common/robot/aloha.ts";
import { CLAMP_BIT } from "../safety/clamp_counts.ts";
import { summarize } from "./summary.ts";
import { type TestCycle, testLog } from "./testing.ts";

Deno.test("summarize() counts chunks, holds, clamps, errors and gaps", () => {
  const clamps = new Uint8Array(14);
  clamps[2] = CLAMP_BIT.velocity | CLAMP_BIT.step;
  const measured = resetState(0.5);
  measured[9] += 0.25;
  measured[10] = NaN;
  const far = resetState(0.5).map((x) => x + 9);
  const cycles: TestCycle[] = [
    { step: 0, planId: 0, hold: "not started", measured: far },
    { step: 1, clamps, measured },
    { step: 2, clamps },
    { step: 3, planId: 0, hold: "ordered" },
    { step: 4, planId: 0, hold: "no plan" },
    { step: 5, planId: 0, hold: "ordered" },
    { step: 6, planId: 2 },
    // One cycle was missed.
    { step: 8, planId: 2 },
  ];
  const summary = summarize(testLog(cycles));
  assert.equal(summary.durationS, 0.16);
  assert.equal(summary.cycles, 8);
  assert.ok(Math.abs(summary.rateHz - 7 / 0.16) < 1e-9);
  assert.equal(summary.chunks, 2);
  assert.deepEqual(summary.holds, {
    "not started": { times: 1, cycles: 1 },
    ordered: { times: 2, cycles: 2 },
    "no plan": { times: 1, cycles: 1 },
  });
  assert.equal(summary.clampedCycles, 2);
  assert.deepEqual(summary.clamps, { left_elbow: { step: 2, velocity: 2 } });
  const errors = summary.maxTrackingError.map((error) => Math.round(error * 1e4) / 1e4);
  assert.deepEqual(errors, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0.25, 0, 0, 0, 0]);
  assert.equal(summary.gaps.count, 1);
  assert.equal(summary.gaps.longestMs, 40);
  assert.equal(summary.gaps.longestAtS, 0.12);
  assert.deepEqual(summary.refusals, { notFinite: 0, workspace: 0 });
});

Deno.test("summarize() of a log without cycles is all zeros", () => {
  const summary = summarize(testLog([]));
  assert.deepEqual(
    [summary.durationS, summary.cycles, summary.rateHz, summary.chunks, summary.gaps.count],
    [0, 0, 0, 0, 0],
  );
  assert.deepEqual([summary.holds, summary.clamps, summary.events], [{}, {}, []]);
});
