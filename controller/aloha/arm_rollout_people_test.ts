import assert from "node:assert/strict";
import { endOf, endsEpisode } from "../../common/chunk_end.ts";
import { useDevice } from "../../common/policy/backend.ts";
import type { ChunkTransition } from "../../common/types.ts";
import { parseTransition } from "../../common/wire/validate.ts";
import { EpisodeLabels } from "../episode_labels.ts";
import { WHOLE_CHUNKS } from "../execution_length.ts";
import { encodeTargets } from "../person_chunk.ts";
import { Takeover } from "../takeover.ts";
import { openRobot, type TestRobot, until } from "./testing.ts";
import { assertValid, FINAL_VALUE, HORIZON, rollOut, sumOf } from "./testing_rollout.ts";

await useDevice("wasm");

Deno.test("ArmRollout heeds people and executes parts of chunks on emulated arms", async (t) => {
  await using open = await openRobot();
  await open.robot.connect();
  await t.step(
    "a part of each chunk is executed, more where chunks overlap",
    () => parts(open),
  );
  await t.step(
    "a person takes over in mid-chunk, drives, gives back, and judges",
    () => takenOver(open),
  );
  await t.step("a stop cuts a person's chunk short, too", () => stoppedPerson(open));
});

async function parts(open: TestRobot): Promise<void> {
  for (const [mode, least] of [["sync", 3], ["overlap", 9]] as const) {
    const execution = { ...WHOLE_CHUNKS, executeSteps: 3 };
    const { policy, world, episodeOf, rollout } = rollOut(open, { mode, execution });
    world.script = { steps: 20, end: { isTruncated: true } };
    const done = await episodeOf();
    assertValid(done, policy.seen);
    assert.equal(sumOf(done), world.given);
    assert.equal(rollout.interruptions, 0);
    // Overlapped chunks need more than twice the steps that run while the next one is inferred.
    for (const { stepsExecuted } of done) assert.ok(stepsExecuted <= least, `${mode}`);
  }
}

async function takenOver(open: TestRobot): Promise<void> {
  const { robot } = open;
  const takeover = new Takeover({ robots: 1, horizon: HORIZON });
  const labels = new EpisodeLabels();
  const end = robot.operator.onEvent(({ kind }) => {
    if (kind === "success") labels.add({ episode: "current", kind });
  });
  const askVerdict = () => robot.operator.askVerdict();
  const { rollout, policy, world } = rollOut(open, { takeover, labels, askVerdict });
  assert.equal(robot.operator.success("test"), false, "no episode waits for it");
  world.onStep = ((step) => (measured: ArrayLike<number>) => {
    if (world.steps === 2) takeover.begin();
    return step.call(world, measured);
  })(world.onStep);
  const done: ChunkTransition[] = [];
  while (takeover.robot === null) done.push(...await rollout.advance(policy, 1));
  const { command } = robot.arms.motion.status();
  const targets = [1, 2, 3, 4].map((i) =>
    Array.from(command, (x, j) => j === 0 ? x + 0.004 * i : x)
  );
  // The person takes a while; meanwhile the arms hold, and time goes on.
  const driven = rollout.advance(policy, 1);
  const { steps } = world;
  await until(() => world.steps > steps + 3, "the arms hold while they wait for targets");
  assert.equal(takeover.push(targets), null);
  done.push(...await driven);
  takeover.release();
  labels.add({ episode: "episode-0", kind: "score", value: 0.5, at: "end" });
  assert.equal(robot.operator.success("test"), true);
  while (!done.at(-1)?.isTerminal) done.push(...await rollout.advance(policy, 1));
  end();
  for (const transition of done) assert.deepEqual(parseTransition(transition), transition);
  assert.deepEqual(done.map(({ chunkIndex }) => chunkIndex), done.map((_, i) => i));
  const [cut, person] = done;
  assert.ok(cut.driver === "policy" && cut.stepsExecuted < HORIZON && !endsEpisode(cut));
  assert.deepEqual([person.driver, person.logProb, person.value], ["person", 0, FINAL_VALUE]);
  const rows = Float32Array.from(targets.slice(0, person.stepsExecuted).flat());
  assert.deepEqual(person.tokens, encodeTargets(policy, rows, person.observation.state));
  const last = done.at(-1)!;
  assert.deepEqual([last.isSuccess, last.finalValue], [true, 0]);
  assert.equal(last.humanRewards.at(-1), 1.5);
  assert.equal(sumOf(done), world.given + 1.5);
  assert.equal(robot.supervisor.status.state, "holding");
  assert.deepEqual([labels.running, robot.operator.isVerdictAwaited], [[], false]);
}

async function stoppedPerson(open: TestRobot): Promise<void> {
  const { robot } = open;
  const takeover = new Takeover({ robots: 1, horizon: HORIZON });
  const { rollout, policy, world } = rollOut(open, { takeover });
  takeover.begin();
  const { command } = robot.arms.motion.status();
  assert.equal(takeover.push(Array(2 * HORIZON).fill(Array.from(command))), null);
  world.onStep = ((step) => (measured: ArrayLike<number>) => {
    if (world.steps === 3) robot.stop.trigger("test", "because");
    return step.call(world, measured);
  })(world.onStep);
  const done: ChunkTransition[] = [];
  while (rollout.interruptions === 0) done.push(...await rollout.advance(policy, 1));
  assert.equal(done.length, 1);
  const [cut] = done;
  assert.deepEqual(parseTransition(cut), cut);
  assert.deepEqual([cut.driver, endOf(cut), cut.finalValue], ["person", "stopped", FINAL_VALUE]);
  assert.ok(cut.stepsExecuted < HORIZON);
  assert.equal(takeover.queuedSteps, 0, "what was meant for this episode is not executed later");
  takeover.release();
  robot.supervisor.release("test");
}
