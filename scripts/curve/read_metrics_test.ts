import assert from "node:assert/strict";
import { meanCurve, parseMetrics, type RunCurve } from "./read_metrics.ts";

const row = (update: number, successRate: number | null, episodeReward: number | null = 0) =>
  JSON.stringify({ step: update, time: "now", update, successRate, episodeReward, entropy: 1 });

Deno.test("parseMetrics() sorts updates and lets the later line of an update count", () => {
  const text = [row(1, null, null), row(3, 0.5), row(2, 0.25), "", row(3, 0.75, 1.5), ""].join(
    "\n",
  );
  assert.deepEqual(parseMetrics(text, "checkpoints/seed_3/metrics.jsonl"), {
    name: "seed_3",
    points: [
      { update: 1, successRate: null, episodeReward: null },
      { update: 2, successRate: 0.25, episodeReward: 0 },
      { update: 3, successRate: 0.75, episodeReward: 1.5 },
    ],
  });
});

Deno.test("parseMetrics() names a run after its folder, else after its file", () => {
  const name = (path: string) => parseMetrics(row(1, 1), path).name;
  assert.equal(name("a/b/metrics.jsonl"), "b");
  assert.equal(name("metrics.jsonl"), "metrics");
  assert.equal(name("a/first.jsonl"), "first");
});

Deno.test("parseMetrics() says in one sentence which line is malformed", () => {
  const cases: [string, RegExp][] = [
    ["", /Cannot read m\.jsonl: it has no updates yet/],
    [`${row(1, 0.5)}\n{"update":2,"succ`, /Cannot read line 2 of m\.jsonl: it is not JSON/],
    ["3", /Cannot read line 1 of m\.jsonl: the line is wrong/],
    ['{"update":1,"episodeReward":0}', /line 1 of m\.jsonl: successRate is wrong/],
    [row(1, 1.5), /line 1 of m\.jsonl: successRate is wrong/],
    [row(0.5, 1), /line 1 of m\.jsonl: update is wrong/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseMetrics(text, "m.jsonl"), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      return true;
    });
  }
});

Deno.test("meanCurve() interpolates within a run and never beyond its ends", () => {
  const run = (...values: (number | null)[]): RunCurve => ({
    name: "",
    points: values.map((value, i) => ({ update: i + 1, successRate: value, episodeReward: null })),
  });
  const runs = [run(0, null, 1), run(null, 1, null, 0.5)];
  assert.deepEqual(meanCurve(runs, "successRate"), [[1, 0], [2, 0.75], [3, 0.875], [4, 0.5]]);
  assert.deepEqual(meanCurve(runs, "episodeReward"), []);
});
