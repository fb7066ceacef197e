import assert from "node:assert/strict";
import { isReached, missedGoals, reportText } from "./report.ts";

const atMost = (value: number) => ({ kind: "at most", value }) as const;
const atLeast = (value: number) => ({ kind: "at least", value }) as const;

Deno.test("isReached() compares with the goal, and NaN reaches none", () => {
  const finding = { name: "x", unit: "ms" };
  assert.equal(isReached({ ...finding, value: 2 }), undefined);
  assert.equal(isReached({ ...finding, value: 2, goal: atMost(2) }), true);
  assert.equal(isReached({ ...finding, value: 2.1, goal: atMost(2) }), false);
  assert.equal(isReached({ ...finding, value: 99.9, goal: atLeast(99.9) }), true);
  assert.equal(isReached({ ...finding, value: NaN, goal: atMost(2) }), false);
  assert.equal(isReached({ ...finding, value: NaN, goal: atLeast(2) }), false);
});

Deno.test("reportText() states goal and verdict, missedGoals() what was missed", () => {
  const report = {
    title: "steady",
    findings: [
      { name: "cycles", unit: "", value: 60_000 },
      { name: "missed", unit: "", value: 0, goal: atMost(0) },
      { name: "jitter", unit: "ms", value: 2.5, goal: atMost(2) },
    ],
    notes: ["a note"],
  };
  const lines = reportText(report).split("\n");
  assert.match(lines[0], /^steady +value +unit +goal +reached$/);
  assert.match(lines[2], /^cycles +60,000$/);
  assert.match(lines[3], /^missed +0 +≤ 0 +yes$/);
  assert.match(lines[4], /^jitter +2\.5 +ms +≤ 2 +NO$/);
  assert.equal(lines[5], "a note");
  assert.deepEqual(missedGoals(report), ["jitter is 2.5 ms, at most 2 is wanted"]);
});
