import assert from "node:assert/strict";
import { resetState } from "../../common/robot/aloha.ts";
import { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator } from "./demonstrator.ts";
import { REACH_BOX_M, ReachTask } from "./reach_task.ts";
import { CUBE_START_M, CUBE_START_YAW_RAD, TransferCubeTask } from "./transfer_cube_task.ts";
import { parseTaskName, TASK_PROMPTS } from "./task_names.ts";

const HOLD = resetState(1);

function reachTask(robot: SimulatedAloha): ReachTask {
  assert.ok(robot.task instanceof ReachTask);
  return robot.task;
}

function transferTask(robot: SimulatedAloha): TransferCubeTask {
  assert.ok(robot.task instanceof TransferCubeTask);
  return robot.task;
}

Deno.test("parseTaskName() lists the tasks when it does not know one", () => {
  assert.equal(parseTaskName("reach"), "reach");
  assert.throws(() => parseTaskName("fold_laundry"), {
    name: "RangeError",
    message: 'Unknown task "fold_laundry": choose one of reach, transfer_cube',
  });
});

Deno.test("reach places the ball all over its box, its shadow straight below", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 8 });
  const task = reachTask(robot);
  const seen = [0, 1, 2].map(() => [Infinity, -Infinity]);
  for (let seed = 0; seed < 300; seed++) {
    robot.resetSync(seed);
    task.target.forEach((x, k) => {
      assert.ok(x >= REACH_BOX_M.min[k] && x <= REACH_BOX_M.max[k]);
      seen[k] = [Math.min(seen[k][0], x), Math.max(seen[k][1], x)];
    });
    const [x, y] = robot.data.views.mocapPos.subarray(3);
    assert.deepEqual([x, y], task.target.slice(0, 2));
  }
  seen.forEach(([low, high], k) => {
    assert.ok(high - low > 0.95 * (REACH_BOX_M.max[k] - REACH_BOX_M.min[k]));
  });
  assert.equal(task.prompt, TASK_PROMPTS.reach);
});

Deno.test("reach places the ball beyond its box when a margin is given", async () => {
  const boxMarginM = 0.025;
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 8, reach: { boxMarginM } });
  const task = reachTask(robot);
  let beyond = 0;
  for (let seed = 0; seed < 300; seed++) {
    robot.resetSync(seed);
    const outside = task.target.map((x, k) =>
      Math.max(REACH_BOX_M.min[k] - x, x - REACH_BOX_M.max[k], 0)
    );
    assert.ok(outside.every((d) => d <= boxMarginM + 1e-12));
    if (outside.some((d) => d > 0)) beyond++;
  }
  // 0.20 × 0.25 × 0.15 of 0.25 × 0.30 × 0.20 m: half of the wider box is outside the box.
  assert.ok(beyond > 110 && beyond < 190, `${beyond} of 300 were outside`);
});

Deno.test("reach rewards progress: its sum is the distance gained less the time spent", async () => {
  using robot = await SimulatedAloha.create({
    task: "reach",
    imageSize: 8,
    reach: { progressScale: 5, successBonus: 2, timePenalty: 0.01 },
  });
  robot.resetSync(11);
  const task = reachTask(robot);
  const start = task.distanceM;
  const demonstrator = createDemonstrator(robot);
  demonstrator.reset();
  let sum = 0;
  let outcome = robot.stepSync(demonstrator.act());
  sum += outcome.reward;
  while (!robot.hasEnded) sum += (outcome = robot.stepSync(demonstrator.act())).reward;
  assert.deepEqual([outcome.isTerminal, outcome.isTruncated, outcome.isSuccess], [
    true,
    false,
    true,
  ]);
  assert.ok(task.distanceM <= 0.036);
  const expected = 5 * (start - task.distanceM) + 2 - 0.01 * robot.steps;
  assert.ok(Math.abs(sum - expected) < 1e-9);
});

Deno.test("reach succeeds inside the radius and not outside", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 8 });
  const task = reachTask(robot);
  // After one held step the tip hardly moved from the reset pose at (-0.168, -0.019, 0.330).
  const isSuccessAt = (offsetM: number) => {
    robot.resetSync(0);
    const [x, y, z] = robot.data.views.siteXpos;
    task.moveTarget([x, y + offsetM, z]);
    return robot.stepSync(HOLD).isTerminal;
  };
  assert.equal(isSuccessAt(0.034), true);
  assert.equal(isSuccessAt(0.038), false);
});

Deno.test("holding the reset pose seldom reaches the ball", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 8 });
  let successes = 0;
  for (let seed = 0; seed < 50; seed++) {
    robot.resetSync(seed);
    for (let i = 0; i < 30 && !robot.hasEnded; i++) robot.stepSync(HOLD);
    if (robot.hasEnded) successes++;
  }
  assert.ok(successes <= 5, `${successes} of 50`);
});

Deno.test("transfer_cube places the cube at rest on the right of the table", async () => {
  using robot = await SimulatedAloha.create({ task: "transfer_cube", imageSize: 8 });
  const task = transferTask(robot);
  for (let seed = 0; seed < 50; seed++) {
    robot.resetSync(seed);
    const [x, y, z] = task.cubePosition;
    assert.ok(x >= CUBE_START_M.min[0] && x <= CUBE_START_M.max[0]);
    assert.ok(y >= CUBE_START_M.min[1] && y <= CUBE_START_M.max[1]);
    assert.equal(z, 0.02);
    assert.ok(Math.abs(task.cubeYawRad) <= CUBE_START_YAW_RAD);
  }
  const before = task.cubePosition;
  for (let i = 0; i < 25; i++) assert.equal(robot.stepSync(HOLD).reward, 0);
  task.cubePosition.forEach((x, k) => assert.ok(Math.abs(x - before[k]) < 1e-3));
});

Deno.test("transfer_cube pays the stage at every step and passes them in order", async () => {
  using robot = await SimulatedAloha.create({ task: "transfer_cube", imageSize: 8 });
  robot.resetSync(0);
  const demonstrator = createDemonstrator(robot);
  demonstrator.reset();
  const stages: number[] = [];
  let outcome = robot.stepSync(demonstrator.act());
  while (true) {
    assert.equal(outcome.reward, transferTask(robot).stage);
    if (outcome.reward !== stages.at(-1)) stages.push(outcome.reward);
    if (robot.hasEnded) break;
    assert.equal(outcome.isSuccess, false);
    outcome = robot.stepSync(demonstrator.act());
  }
  assert.deepEqual([outcome.isTerminal, outcome.isSuccess], [true, true]);
  assert.deepEqual(stages, [0, 1, 2, 4]);
});
