import assert from "node:assert/strict";
import { JOINTS_PER_ARM, resetState } from "../../common/robot/aloha.ts";
import { seededRandom } from "../../common/random.ts";
import { forwardKinematics } from "../kinematics/kinematics.ts";
import { SimulatedAloha } from "./aloha_sim.ts";
import { recordDemonstrations } from "./demonstrations.ts";
import { ReachTask } from "./reach_task.ts";

const HORIZON = 10;

/** Where the left pinch point is in the first examples of some episodes, from the ball, in metres. */
async function startsFromBall(share: number | undefined) {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 8, maxEpisodeSteps: 50 });
  const targets: number[][] = [];
  const { examples } = recordDemonstrations(robot, {
    episodes: 12,
    firstSeed: 0,
    horizon: HORIZON,
    stride: 1000,
    demonstrator: {},
    scatter: share === undefined ? undefined : { share, random: seededRandom(1) },
    onEpisode: () => targets.push((robot.task as ReachTask).target),
  });
  assert.equal(examples.length, 12);
  return examples.map(({ observation: { state }, actions }, i) => {
    const fromBall = (joints: Float32Array) =>
      forwardKinematics("left", joints).position.map((x, k) => x - targets[i][k]);
    const last = (HORIZON - 1) * 14;
    return {
      state,
      before: fromBall(state.subarray(0, JOINTS_PER_ARM)),
      after: fromBall(actions.subarray(last, last + JOINTS_PER_ARM)),
    };
  });
}

Deno.test("recordDemonstrations() begins at the reset pose, or anywhere around the ball", async () => {
  for (const { state } of await startsFromBall(undefined)) {
    assert.deepEqual(state, Float32Array.from(resetState(1)));
  }
  const scattered = await startsFromBall(1);
  const length = (x: Iterable<number>) => Math.hypot(...x);
  for (const { before, after } of scattered) {
    assert.ok(before.every((x) => Math.abs(x) <= 0.121), `${before}`);
    if (length(before) > 0.04) assert.ok(length(after) < length(before), `${before} → ${after}`);
  }
  // On every side of it.
  for (let k = 0; k < 3; k++) {
    assert.ok(scattered.some(({ before }) => before[k] > 0.03), `axis ${k}`);
    assert.ok(scattered.some(({ before }) => before[k] < -0.03), `axis ${k}`);
  }
  const starts = (await startsFromBall(0.5)).map(({ state }) => state[0]);
  const atRest = starts.filter((x) => x === Math.fround(resetState(1)[0])).length;
  assert.ok(atRest > 2 && atRest < 10, `${atRest} of 12`);
});
