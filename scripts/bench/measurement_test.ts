import assert from "node:assert/strict";
import { isGoalMet, measurementTable, summarize, timeRounds } from "./measurement.ts";
import { sumByName } from "./learner.ts";

const never = new AbortController().signal;

Deno.test("isGoalMet() compares the median, the bound included", () => {
  const measured = (p50: number, kind: "at most" | "at least") =>
    isGoalMet({ name: "x", unit: "ms", p50, goal: { kind, value: 60 } });
  assert.equal(measured(60, "at most"), true);
  assert.equal(measured(60.01, "at most"), false);
  assert.equal(measured(60, "at least"), true);
  assert.equal(measured(59.99, "at least"), false);
  assert.equal(isGoalMet({ name: "x", unit: "ms", p50: 1 }), undefined);
});

Deno.test("summarize() takes median and 90th percentile", () => {
  assert.deepEqual(summarize("x", "ms", [3, 1, 2]), {
    name: "x",
    unit: "ms",
    p50: 2,
    p90: 2.8,
    goal: undefined,
  });
});

Deno.test("timeRounds() warms up once and times every round", async () => {
  const rounds: number[] = [];
  const times = await timeRounds(3, never, (round) => rounds.push(round));
  assert.deepEqual(rounds, [0, 0, 1, 2]);
  assert.equal(times.length, 3);
  assert.ok(times.every((ms) => ms >= 0));
});

Deno.test("timeRounds() stops at an aborted signal", async () => {
  await assert.rejects(timeRounds(3, AbortSignal.abort(new Error("stop")), () => {}), /stop/);
});

Deno.test("measurementTable() shows goals with their verdicts", () => {
  const table = measurementTable("part", [
    { name: "fast", unit: "ms", p50: 12.3456, p90: 20, goal: { kind: "at most", value: 60 } },
    { name: "slow", unit: "steps/s", p50: 9_000.4, goal: { kind: "at least", value: 20_000 } },
    { name: "plain", unit: "µs", p50: 0.00123 },
  ]);
  const lines = table.split("\n").map((line) => line.split(/\s{2,}/));
  assert.deepEqual(lines[2], ["fast", "12.35", "20", "ms", "≤ 60", "pass"]);
  assert.deepEqual(lines[3], ["slow", "9,000", "steps/s", "≥ 20,000", "MISS"]);
  assert.deepEqual(lines[4], ["plain", "0.0012", "µs"]);
});

Deno.test("sumByName() adds calls of a kernel and puts the slowest first", () => {
  const calls = [{ name: "Add", ms: 1 }, { name: "MatMul", ms: 2.5 }, { name: "Add", ms: 1 }];
  assert.deepEqual(sumByName(calls), [
    { name: "MatMul", ms: 2.5, calls: 1 },
    { name: "Add", ms: 2, calls: 2 },
  ]);
});
