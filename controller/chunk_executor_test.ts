import assert from "node:assert/strict";
import { executeChunk } from "./chunk_executor.ts";
import { type EpisodeScript, ScriptedRobot } from "./testing.ts";

/** Three steps, each number telling where it stands. */
const CHUNK = Float32Array.from({ length: 3 * 14 }, (_, i) => i);

async function execute(script: EpisodeScript) {
  const robot = new ScriptedRobot(() => script);
  await robot.reset(0);
  return { robot, outcome: await executeChunk(robot, CHUNK) };
}

Deno.test("executeChunk() executes every step in order and sums their rewards", async () => {
  const { robot, outcome } = await execute({ steps: 9, end: "failure" });
  assert.deepEqual(outcome, {
    reward: 6,
    stepRewards: Float32Array.of(1, 2, 3),
    humanRewards: new Float32Array(0),
    stepsExecuted: 3,
    isTerminal: false,
    isTruncated: false,
    isCutShort: false,
    isSuccess: false,
  });
  assert.deepEqual(robot.actions, [0, 1, 2].map((t) => CHUNK.slice(14 * t, 14 * (t + 1))));
});

Deno.test("executeChunk() stops at the end of an episode and says what it was", async () => {
  const cases: [EpisodeScript["end"], boolean, boolean, boolean][] = [
    ["success", true, false, true],
    ["failure", true, false, false],
    ["timeout", false, true, false],
    ["timeout after success", false, true, true],
  ];
  for (const [end, isTerminal, isTruncated, isSuccess] of cases) {
    const { robot, outcome } = await execute({ steps: 2, end });
    const { stepRewards, humanRewards, ...others } = outcome;
    assert.deepEqual([...stepRewards, ...humanRewards], [1, 2]);
    const flags = { isTerminal, isTruncated, isCutShort: false, isSuccess };
    assert.deepEqual(others, { reward: 3, stepsExecuted: 2, ...flags });
    assert.equal(robot.actions.length, 2);
  }
});

Deno.test("executeChunk() counts an end at the chunk's last step", async () => {
  const { outcome } = await execute({ steps: 3, end: "timeout" });
  assert.equal(outcome.stepsExecuted, 3);
  assert.equal(outcome.isTruncated, true);
});

Deno.test("executeChunk() refuses an empty chunk", async () => {
  const robot = new ScriptedRobot(() => ({ steps: 1, end: "failure" }));
  await assert.rejects(executeChunk(robot, new Float32Array(0)), /without a single step/);
});
