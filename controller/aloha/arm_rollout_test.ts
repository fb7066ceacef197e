import assert from "node:assert/strict";
import { endsEpisode } from "../../common/chunk_end.ts";
import { checkFinite, NonFiniteError } from "../../common/device/check_finite.ts";
import { GpuLostError } from "../../common/device/errors.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { makeAssets } from "../../common/policy/testing.ts";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import type { Behaviour, ChunkTransition, Observation, StepOutcome } from "../../common/types.ts";
import { parseTransition } from "../../common/wire/validate.ts";
import type { CameraView } from "../camera/camera_set.ts";
import { MOTION_RECORD } from "../motion/motion_memory.ts";
import { EpisodeLabels } from "../episode_labels.ts";
import { WHOLE_CHUNKS } from "../execution_length.ts";
import { encodeTargets } from "../person_chunk.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { MOVING_NAMES } from "../safety/limits.ts";
import { Takeover } from "../takeover.ts";
import { ArmRollout, type ArmRolloutOptions } from "./arm_rollout.ts";
import type { ChunkPolicy } from "./chunk_policy.ts";
import { cyclesOf, openRobot, type TestRobot, until, untilState } from "./testing.ts";
import type { EpisodeWorld } from "./world/episode_world.ts";
import { SwitchedPictures } from "./world/testing.ts";

await useDevice("wasm");

const HORIZON = 10;
const FAST = makeAssets().fast;
const BEHAVIOUR: Behaviour = { precision: "int8", decoder: "wasm" };
const FINAL_VALUE = 7.5;
const NUMBERS = new Array(ALOHA_DIM).fill(0);
const FIELD = {
  mean: NUMBERS,
  std: NUMBERS.map(() => 1),
  q01: NUMBERS.map(() => -1),
  q99: NUMBERS.map(() => 1),
};

/** A policy that turns the left waist by 10 mrad a step, to and fro with each chunk. */
class WavingPolicy implements ChunkPolicy {
  readonly shape = {
    horizon: HORIZON,
    actionDim: ALOHA_DIM,
    variant: { siglip: { imageSize: 4 } },
  };
  readonly assets = { fast: FAST, stats: { state: FIELD, actions: FIELD } };
  readonly decoder = null;
  readonly network = { backbone: { precision: "int8" } } as const;
  /** What it saw, oldest first. */
  readonly seen: Observation[] = [];
  /** Waited for before a chunk is there. */
  think: () => Promise<void> = () => Promise.resolve();

  async sampleActions(observations: readonly Observation[]) {
    this.seen.push(...observations);
    const number = this.seen.length;
    await this.think();
    return observations.map(({ state }) => {
      const actions = new Float32Array(HORIZON * ALOHA_DIM);
      for (let step = 0; step < HORIZON; step++) {
        const at = step * ALOHA_DIM;
        actions[at] = (number % 2 === 0 ? -1 : 1) * 0.01 * (step + 1);
        actions[at + 6] = state[6];
        actions[at + 13] = state[13];
      }
      const tokens = Int32Array.of(1, 2, number);
      const tokenLogProbs = Float32Array.of(0, 0, -number);
      return {
        tokens,
        actions,
        logProb: -number,
        tokenLogProbs,
        behaviour: BEHAVIOUR,
        entropy: 1,
        value: number / 2,
      };
    });
  }

  observationValues(observations: readonly Observation[]): Promise<Float32Array> {
    return Promise.resolve(Float32Array.from(observations, () => FINAL_VALUE));
  }
}

/** A world whose steps are worth 1, 2, 3, … and whose episodes end by script. */
class ScriptedWorld implements EpisodeWorld {
  readonly prompt = "wave";
  readonly pictures = new SwitchedPictures();
  /** Seeds of the episodes. */
  readonly seeds: number[] = [];
  /** Rewards given in this episode. */
  given = 0;
  steps = 0;
  script: { readonly steps: number; readonly end: Partial<StepOutcome> } = { steps: 1e6, end: {} };
  onBegin: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  async begin(seed: number, signal: AbortSignal): Promise<void> {
    await this.onBegin(signal);
    this.seeds.push(seed);
    this.steps = this.given = 0;
  }

  onStep(measured: ArrayLike<number>): StepOutcome {
    assert.equal(measured.length, ALOHA_DIM);
    this.given += ++this.steps;
    const end = this.steps === this.script.steps ? this.script.end : {};
    return {
      reward: this.steps,
      isTerminal: false,
      isTruncated: false,
      isSuccess: false,
      ...end,
    };
  }

  observe(): CameraView {
    return this.pictures.observe();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** One rollout on the arms, with everything around it. */
function rollOut({ robot, logger }: TestRobot, changes: Partial<ArmRolloutOptions> = {}) {
  const policy = new WavingPolicy(), world = new ScriptedWorld();
  const ending = new AbortController();
  let episode = 0;
  const rollout = new ArmRollout({
    arms: robot.arms,
    supervisor: robot.supervisor,
    world,
    mode: "sync",
    overlapSteps: 4,
    nextEpisode: () => ({ seed: episode, episodeId: `episode-${episode++}` }),
    waitForStart: (signal) => robot.operator.waitForStart(signal),
    refusals: () => [],
    temperature: 1,
    random: () => 0.5,
    logger,
    record: () => {},
    signal: ending.signal,
    ...changes,
  });
  const records: Float64Array[] = [];
  robot.onRecord = (record) => {
    records.push(record.slice());
    rollout.onRecord(record);
  };
  /** Go on until an episode has ended. */
  const episodeOf = async (version: (chunk: number) => number = () => 1) => {
    const done: ChunkTransition[] = [];
    for (let chunk = 0; done.length === 0 || !endsEpisode(done[done.length - 1]);) {
      done.push(...await rollout.advance(policy, version(chunk++)));
    }
    return done;
  };
  return { rollout, policy, world, ending, records, episodeOf };
}

/** What holds of every episode's transitions. */
function assertValid(done: readonly ChunkTransition[], seen: readonly Observation[]): void {
  assert.ok(done.length > 0);
  done.forEach((transition, i) => {
    assert.deepEqual(parseTransition(transition), transition);
    assert.equal(transition.chunkId, `${transition.episodeId}.${i}`);
    assert.equal(transition.chunkIndex, i);
    assert.ok(transition.stepsExecuted >= 1 && transition.stepsExecuted <= HORIZON);
    const isLast = i === done.length - 1;
    assert.equal(endsEpisode(transition), isLast);
    if (!isLast) assert.equal(transition.finalValue, 0);
    // The third token tells which call sampled the chunk.
    const call = transition.tokens[2];
    assert.equal(transition.observation, seen[call - 1], "what the policy saw is what is kept");
    assert.deepEqual([transition.logProb, transition.value], [-call, call / 2]);
    assert.deepEqual(transition.tokenLogProbs, Float32Array.of(0, 0, -call));
    assert.deepEqual(transition.behaviour, BEHAVIOUR);
  });
}

const sumOf = (done: readonly ChunkTransition[]) =>
  done.reduce((sum, { reward }) => sum + reward, 0);

Deno.test("ArmRollout runs episodes on emulated arms", async (t) => {
  await using open = await openRobot();
  await open.robot.connect();
  await t.step(
    "sync: chunks whole, rewards complete, weights swapped between chunks",
    () => sync(open),
  );
  await t.step("overlap: chunks joined without a jump, late ones waited for", () => overlap(open));
  await t.step(
    "a camera that goes stale ends the episode; it goes on when it is back",
    () => stale(open),
  );
  await t.step(
    "arms hold when the policy computes no numbers, until there are others, and when its GPU is lost",
    () => policyFails(open),
  );
  await t.step("a forgotten plan does not stall the episode", () => forgotten(open));
  await t.step(
    "a person takes over in mid-chunk, drives, gives back, and judges",
    () => takenOver(open),
  );
  await t.step("a part of each chunk is executed, more where chunks overlap", () => parts(open));
  await t.step("refusals keep it from starting", () => refusals(open));
  await t.step("an abort ends it in every phase", () => aborts(open));
  await t.step(
    "a stop ends the episode, and it goes on after release and start",
    () => stopped(open),
  );
});

async function sync(open: TestRobot): Promise<void> {
  const { rollout, policy, world, episodeOf } = rollOut(open);
  world.script = { steps: 25, end: { isTerminal: true, isSuccess: true } };
  const done = await episodeOf((chunk) => 3 + chunk);
  assertValid(done, policy.seen);
  assert.equal(sumOf(done), world.given);
  assert.equal(done.at(-1)!.isSuccess, true);
  assert.equal(done.at(-1)!.finalValue, 0);
  assert.deepEqual(done.map(({ policyVersion }) => policyVersion), done.map((_, i) => 3 + i));
  for (const { stepsExecuted } of done.slice(0, -1)) assert.equal(stepsExecuted, HORIZON);
  assert.equal(open.robot.supervisor.status.state, "holding");
  assert.equal(rollout.interruptions, 0);

  world.script = { steps: 12, end: { isTruncated: true } };
  const cut = await episodeOf();
  assertValid(cut, policy.seen);
  assert.equal(sumOf(cut), world.given);
  assert.deepEqual([cut.at(-1)!.isTruncated, cut.at(-1)!.finalValue], [true, FINAL_VALUE]);
  assert.deepEqual(world.seeds, [0, 1]);
}

async function overlap(open: TestRobot): Promise<void> {
  const { arms } = open.robot;
  const { rollout, policy, world, episodeOf, records } = rollOut(open, { mode: "overlap" });
  world.script = { steps: 60, end: { isTruncated: true } };
  let begun = 0;
  world.onBegin = () => Promise.resolve(void (begun = records.length));
  let standing: { from: number; to: number } | null = null;
  policy.think = async () => {
    if (policy.seen.length !== 5) return;
    // This one comes late: the arms have nothing to do, and wait.
    await until(() => arms.motion.status().hold === "no plan", "the plan has ended");
    await until(() => arms.motion.status().isStill, "the arms stand");
    await cyclesOf(open.robot, 1);
    const from = records.length;
    await cyclesOf(open.robot, 8);
    standing = { from, to: records.length };
  };
  const done = await episodeOf();
  assertValid(done, policy.seen);
  assert.equal(sumOf(done), world.given);
  assert.equal(rollout.interruptions, 0);
  assert.ok(rollout.lateChunks >= 1);
  assert.ok(standing !== null);
  const { from, to } = standing as { from: number; to: number };
  const command = (record: Float64Array) =>
    Array.from(record.subarray(MOTION_RECORD.command, MOTION_RECORD.command + ALOHA_DIM));
  assert.ok(to > from + 2);
  for (const record of records.slice(from, to)) {
    assert.deepEqual(command(record), command(records[from]), "no command moves while waiting");
  }
  assertSmooth(records.slice(begun).map(command));
}

/** No command of consecutive cycles is faster, or changes its speed more, than the limits allow. */
function assertSmooth(commands: readonly number[][]): void {
  const periodS = 0.02;
  for (let n = 2; n < commands.length; n++) {
    for (let i = 0; i < ALOHA_DIM; i++) {
      const { velocity, acceleration } = DEFAULT_LIMITS.arms.left[MOVING_NAMES[i % 7]];
      const speed = (commands[n][i] - commands[n - 1][i]) / periodS;
      const before = (commands[n - 1][i] - commands[n - 2][i]) / periodS;
      assert.ok(Math.abs(speed) <= velocity + 1e-6, `number ${i} goes at ${speed}/s`);
      const change = Math.abs(speed - before) / periodS;
      assert.ok(
        change <= acceleration * 1.01 + 1e-3,
        `number ${i} changes by ${change}/s² in ${n}`,
      );
    }
  }
}

async function stale(open: TestRobot): Promise<void> {
  const { rollout, policy, world } = rollOut(open);
  const { pictures } = world;
  world.onBegin = async (signal) => {
    while (!await pictures.waitUntilFresh(50)) signal.throwIfAborted();
  };
  assert.deepEqual(await rollout.advance(policy, 1), []);
  pictures.areFresh = false;
  const done = await rollout.advance(policy, 1);
  assertValid(done, policy.seen);
  // Nobody sees where the arms stand: the value of what was seen last stands in.
  assert.deepEqual([done.length, done[0].isCutShort, done[0].finalValue], [1, true, 0.5]);
  assert.equal(rollout.interruptions, 1);
  assert.equal(open.robot.supervisor.status.state, "holding");
  const next = rollout.advance(policy, 1);
  await untilState(open.robot, "holding");
  pictures.switchOn();
  await next;
  assert.equal(open.robot.supervisor.status.state, "running");
  rollout.interrupt("the camera is away");
  const [cut] = await rollout.advance(policy, 1);
  assert.deepEqual([cut.isCutShort, cut.episodeId], [true, "episode-1"]);
}

async function policyFails(open: TestRobot): Promise<void> {
  const { robot, logger } = open;
  const { rollout, policy, world } = rollOut(open);
  const good = policy.think;
  assert.deepEqual(await rollout.advance(policy, 1), []);
  const { planId } = robot.arms.motion.status();
  const from = logger.all.length;
  policy.think = () => Promise.resolve(checkFinite(NaN, "an action"));
  const done = await rollout.advance(policy, 1);
  assertValid(done, policy.seen);
  assert.deepEqual([done.length, done[0].isCutShort], [1, true]);
  assert.equal(robot.supervisor.status.state, "holding");
  assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.equal(robot.arms.motion.status().planId, planId, "no plan was made of it");
  assert.equal(rollout.interruptions, 1, "the same weights are not tried again");
  const lines = logger.all.slice(from);
  assert.ok(lines.some((line) => /interrupted: The policy computed NaN for an action/.test(line)));
  const refused = lines.filter((line) => /No episode starts: version 1 of the policy/.test(line));
  assert.equal(refused.length, 1);
  policy.think = good;
  assert.deepEqual(await rollout.advance(policy, 2), []);
  assert.equal(robot.supervisor.status.state, "running");
  // The same weights may go on, on a device that was opened again.
  policy.think = () => Promise.reject(new GpuLostError("Some GPU 4000", "device was lost"));
  const lost = await rollout.advance(policy, 2);
  assert.deepEqual([lost.length, lost[0].isCutShort], [1, true]);
  assert.equal(robot.supervisor.status.state, "holding");
  assert.match(logger.all.at(-1)!, /interrupted: The GPU Some GPU 4000 is lost/);
  policy.think = good;
  assert.deepEqual(await rollout.advance(policy, 2), []);
  assert.equal(robot.supervisor.status.state, "running");
  // A critic that fails at the end of an episode leaves no value, and no other episode begins.
  world.script = { steps: world.steps + 1, end: { isTruncated: true } };
  policy.observationValues = () => Promise.reject(new NonFiniteError("The critic computed NaN"));
  const cut = await rollout.advance(policy, 2);
  assert.equal(cut.at(-1)!.isTruncated, true);
  assert.equal(robot.supervisor.status.state, "holding");
  assert.deepEqual(await rollout.advance(policy, 2), []);
  assert.match(logger.all.at(-1)!, /No episode starts: version 2 .*The critic computed NaN/);
}

async function forgotten(open: TestRobot): Promise<void> {
  const { rollout, policy, world, episodeOf } = rollOut(open);
  world.script = { steps: 30, end: { isTerminal: true } };
  const { motion } = open.robot.arms;
  const { follow } = motion;
  let chunks = 0;
  // What happens when the motion thread forgets a plan: it never hears of this one.
  motion.follow = (targets, firstStep) => {
    const id = follow.call(motion, targets, firstStep);
    return ++chunks === 2 ? id + 1000 : id;
  };
  try {
    const done = await episodeOf();
    assertValid(done, policy.seen);
    assert.equal(sumOf(done), world.given);
    assert.equal(rollout.interruptions, 0);
    assert.ok(policy.seen.length >= 3);
  } finally {
    motion.follow = follow;
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

async function refusals(open: TestRobot): Promise<void> {
  const { robot, logger } = open;
  let because = ["The policy's weights are randomly initialised", "Camera cam_high is stale"];
  const { rollout, policy, world, ending } = rollOut(open, { refusals: () => because });
  const from = logger.all.length;
  await robot.arms.motionStands();
  const { command } = robot.arms.motion.status();
  for (let n = 0; n < 2; n++) assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.deepEqual(robot.arms.motion.status().command, command, "nothing moves, not even home");
  assert.equal(world.seeds.length + policy.seen.length, 0);
  const lines = logger.all.slice(from).filter((line) => /No episode starts/.test(line));
  assert.equal(lines.length, 1, "it is said once");
  assert.match(lines[0], /randomly initialised.*cam_high is stale/);
  // One that comes while the world gets ready counts, too.
  because = [];
  world.onBegin = () => Promise.resolve(void (because = ["The policy does not fit this robot"]));
  assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.equal(policy.seen.length, 0);
  assert.match(logger.all.at(-1)!, /does not fit this robot/);
  ending.abort();
}

async function aborts(open: TestRobot): Promise<void> {
  const { robot } = open;
  const inferring = rollOut(open);
  inferring.policy.think = () => Promise.resolve(inferring.ending.abort(new Error("over")));
  assert.deepEqual(await inferring.rollout.advance(inferring.policy, 1), []);
  assert.equal(robot.supervisor.status.state, "holding");

  const executing = rollOut(open);
  executing.world.onStep = ((step) => (measured: ArrayLike<number>) => {
    if (executing.world.steps === 3) executing.ending.abort(new Error("over"));
    return step.call(executing.world, measured);
  })(executing.world.onStep);
  const [done] = await executing.rollout.advance(executing.policy, 1);
  assert.deepEqual([done.isCutShort, done.isTerminal], [true, false]);
  assert.equal(robot.supervisor.status.state, "holding");

  const waiting = rollOut(open);
  waiting.world.onBegin = (signal) => {
    waiting.ending.abort(new Error("over"));
    return Promise.reject(signal.reason);
  };
  assert.deepEqual(await waiting.rollout.advance(waiting.policy, 1), []);
}

async function stopped(open: TestRobot): Promise<void> {
  const { robot } = open;
  const { rollout, policy, world, ending } = rollOut(open);
  world.script = { steps: 15, end: { isTerminal: true } };
  assert.deepEqual(await rollout.advance(policy, 1), []);
  robot.stop.trigger("test", "because");
  const [cut] = await rollout.advance(policy, 1);
  assert.deepEqual([cut.isCutShort, rollout.interruptions], [true, 1]);
  assert.equal(cut.finalValue, FINAL_VALUE, "the critic has looked at where the arms came to rest");
  const stuck = rollout.advance(policy, 1);
  robot.supervisor.release("test");
  assert.deepEqual(await stuck, []);
  await untilState(robot, "ready");
  const asked = rollout.advance(policy, 1);
  await until(() => robot.operator.isStartAwaited, "a start is awaited");
  // The arms go away and come back: a start that was said meanwhile does not count.
  robot.supervisor.dispatch({ type: "disconnect" });
  assert.equal(robot.operator.start("test"), true);
  await asked;
  assert.equal(robot.supervisor.needsStart, true);
  ending.abort(new Error("over"));
  assert.deepEqual(await rollout.advance(policy, 1), []);
}
