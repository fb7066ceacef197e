import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { groupRuns, parseResultLines, ResultFile, type ResultLine } from "./result_lines.ts";

const key = { experiment: "reach", variant: "default", seed: 0 };
const begin = (settings: Record<string, number> = {}): ResultLine => ({
  kind: "begin",
  ...key,
  settings,
});
const update = (number: number, wallSeconds = 1): ResultLine => ({
  kind: "update",
  ...key,
  update: number,
  wallSeconds,
  metrics: { weightAge: 1.5, successRate: null },
});
const trained: ResultLine = {
  kind: "trained",
  ...key,
  updates: 2,
  controlSteps: 90,
  wallSeconds: 3,
  controller: { chunks: 12 },
};
const evaluation = (number: number, successRate = 0.5): ResultLine => ({
  kind: "evaluation",
  ...key,
  update: number,
  controlSteps: 40 * number,
  wallSeconds: number,
  episodes: 4,
  successRate,
  meanReward: -0.25,
  meanSteps: 31,
});
const write = (lines: readonly ResultLine[]) =>
  lines.map((line) => JSON.stringify(line)).join("\n") + "\n";

Deno.test("parseResultLines() gives back what was written", () => {
  const lines = [begin({ learningRate: 1e-4 }), update(1), trained, evaluation(0), evaluation(2)];
  assert.deepEqual(parseResultLines(write(lines), "x"), lines);
  assert.deepEqual(parseResultLines("\n\n", "x"), []);
});

Deno.test("parseResultLines() passes over a last line that was cut anywhere", () => {
  const text = write([begin(), update(1), update(2)]).trimEnd();
  const start = text.lastIndexOf("\n") + 1;
  fc.assert(
    fc.property(fc.integer({ min: start, max: text.length - 1 }), (end) => {
      assert.equal(parseResultLines(text.slice(0, end), "x").length, 2);
    }),
    { numRuns: 50 },
  );
});

Deno.test("parseResultLines() says in one sentence which line is wrong", () => {
  const cases: [object | string, RegExp][] = [
    ["{", /Cannot read line 2 of x\.jsonl: it is not JSON; remove the line/],
    ["3", /line 2 of x\.jsonl: the line is wrong/],
    [{ ...evaluation(1), successRate: 1.1 }, /line 2 of x\.jsonl: successRate is wrong/],
    [{ ...evaluation(1), controlSteps: -1 }, /controlSteps is wrong/],
    [{ ...update(1), metrics: { a: "b" } }, /metrics\.a is wrong/],
    [{ ...begin(), seed: 0.5 }, /seed is wrong/],
    [{ ...begin(), kind: "start" }, /kind is wrong/],
  ];
  for (const [line, message] of cases) {
    const bad = typeof line === "string" ? line : JSON.stringify(line);
    const text = `${write([begin()])}${bad}\n${write([trained])}`;
    assert.throws(() => parseResultLines(text, "x.jsonl"), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      return true;
    });
  }
});

Deno.test("groupRuns() sorts by run and update, and lets the later line count", () => {
  const other = { ...evaluation(0), variant: "stale" } as ResultLine;
  const [run, stale] = groupRuns([
    begin({ epochs: 1 }),
    update(2, 9),
    update(1),
    other,
    update(2, 7),
    trained,
    evaluation(2, 0.25),
    evaluation(0),
    evaluation(2, 0.75),
  ]);
  assert.deepEqual(run.settings, { epochs: 1 });
  assert.deepEqual(run.updates.map((line) => [line.update, line.wallSeconds]), [[1, 1], [2, 7]]);
  assert.deepEqual(run.evaluations.map((line) => [line.update, line.successRate]), [
    [0, 0.5],
    [2, 0.75],
  ]);
  assert.equal(run.trained?.updates, 2);
  assert.equal(stale.variant, "stale");
  assert.equal(stale.settings, undefined);
  assert.equal(stale.trained, undefined);
});

Deno.test("groupRuns() forgets what a run had before it began anew", () => {
  const [run, ...none] = groupRuns([
    begin(),
    update(1),
    trained,
    evaluation(0),
    begin(),
    update(1),
  ]);
  assert.equal(none.length, 0);
  assert.equal(run.updates.length, 1);
  assert.equal(run.trained, undefined);
  assert.deepEqual(run.evaluations, []);
});

Deno.test("ResultFile goes on behind the half line of a killed program", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "deep", "x.jsonl");
    const file = new ResultFile(path);
    assert.deepEqual(await file.read(), []);
    await file.append(begin());
    await file.append(update(1));
    await Deno.writeTextFile(path, '{"kind":"upd', { append: true });
    const next = new ResultFile(path);
    assert.equal((await next.read())[0].updates.length, 1);
    await next.append(update(2));
    assert.deepEqual((await next.read())[0].updates.map((line) => line.update), [1, 2]);
    const wrong = { ...evaluation(1), successRate: 2 } as ResultLine;
    await assert.rejects(() => next.append(wrong));
    assert.equal((await next.read())[0].evaluations.length, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
