import assert from "node:assert/strict";
import { isGoalMet } from "../measurement.ts";
import { groupRuns, type ResultLine } from "./result_lines.ts";
import { measureThroughput, throughputMeasurements } from "./throughput.ts";

const key = { experiment: "throughput", variant: "demo", seed: 0 };

function run(updates: readonly [collect: number, update: number][], times: object) {
  return groupRuns([
    ...updates.map(([collectSeconds, updateSeconds], i): ResultLine => ({
      kind: "update",
      ...key,
      update: i + 1,
      wallSeconds: i,
      metrics: { collectSeconds, updateSeconds, chunks: 100 },
    })),
    {
      kind: "trained",
      ...key,
      updates: updates.length,
      controlSteps: 800 * updates.length,
      wallSeconds: 60,
      controller: { chunks: 450, times },
    },
  ])[0];
}

const TIMES = {
  inferMs: 3000,
  executeMs: 2000,
  observeMs: 1000,
  waitMs: 2500,
  weightsMs: 300,
  sendMs: 200,
  loopMs: 10_000,
};

Deno.test("measureThroughput() leaves the first two updates out and divides what is left", () => {
  const got = measureThroughput(run([[50, 9], [50, 9], [1, 9], [3, 7]], TIMES));
  assert.equal(got.chunksPerSecond, 10);
  assert.equal(got.stepsPerSecond, 80);
  assert.equal(got.learnerIdle, 0.2);
  assert.equal(got.learnerUpdate, 0.8);
  assert.equal(got.robotIdle, 0.25);
  const { inference, simulation, rendering, transfer, other } = got.controller;
  assert.deepEqual([inference, simulation, rendering, transfer], [0.3, 0.2, 0.1, 0.05]);
  assert.ok(Math.abs(other - 0.1) < 1e-12);
  const verdicts = throughputMeasurements(got).filter((m) => m.goal).map(isGoalMet);
  assert.deepEqual(verdicts, [false, false]);
});

Deno.test("measureThroughput() refuses runs that are too short, unfinished or of others", () => {
  assert.throws(() => measureThroughput(run([[1, 1], [1, 1]], TIMES)), /has 2 updates .* is over/);
  const unfinished = { ...run([[1, 1], [1, 1], [1, 1]], TIMES), trained: undefined };
  assert.throws(() => measureThroughput(unfinished), /is not over/);
  assert.throws(() => measureThroughput(run([[1, 1], [1, 1], [1, 1]], {})));
});
