import assert from "node:assert/strict";
import { toRobotActions } from "../common/policy/action_transform.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { useDevice } from "../common/policy/backend.ts";
import { ACTION_DIM, HORIZON, makePolicy } from "../common/policy/testing.ts";
import { seededRandom } from "../common/random.ts";
import type { ChunkTransition, Observation } from "../common/types.ts";
import { parseTransition } from "../common/wire/validate.ts";
import { EpisodeLabels } from "./episode_labels.ts";
import { evaluatePolicy, HELD_OUT_SEED } from "./evaluation.ts";
import { WHOLE_CHUNKS } from "./execution_length.ts";
import { encodeTargets } from "./person_chunk.ts";
import { Rollout, type RolloutOptions } from "./rollout.ts";
import { Takeover } from "./takeover.ts";
import { countedEpisodes, type EpisodeScript, ScriptedRobot } from "./testing.ts";

await useDevice("wasm");

/** Ends of episodes in turn, each a step later than the one before. */
const ENDS: readonly EpisodeScript["end"][] = ["success", "timeout", "failure"];
const script = (seed: number): EpisodeScript => ({ steps: 3 + seed, end: ENDS[seed % 3] });

/** Run some episodes to their end; the policy's version counts up with every chunk. */
async function runEpisodes(policy: ActorCritic, robots: ScriptedRobot[], count: number) {
  const rollout = new Rollout({
    robots,
    nextEpisode: countedEpisodes(count),
    temperature: 1,
    random: seededRandom(3),
  });
  const all: ChunkTransition[] = [];
  for (let version = 0;; version++) {
    const transitions = await rollout.advance(policy, version);
    if (transitions.length === 0) return { all, rollout };
    assert.ok(transitions.every((t) => t.policyVersion === version));
    all.push(...transitions);
  }
}

Deno.test("Rollout records whole episodes, in order, under unique ids", async () => {
  using policy = makePolicy();
  const { all } = await runEpisodes(policy, [1, 2].map(() => new ScriptedRobot(script)), 7);
  assert.equal(new Set(all.map((t) => t.chunkId)).size, all.length);
  for (let episode = 0; episode < 7; episode++) {
    const chunks = all.filter((t) => t.episodeId === `episode-${episode}`);
    const { steps, end } = script(episode);
    assert.deepEqual(chunks.map((t) => t.chunkIndex), chunks.map((_, i) => i));
    assert.equal(chunks.reduce((n, t) => n + t.stepsExecuted, 0), steps);
    assert.equal(chunks.reduce((n, t) => n + t.reward, 0), steps * (steps + 1) / 2);
    const last = chunks.at(-1)!;
    assert.equal(last.isTerminal, end !== "timeout");
    assert.equal(last.isTruncated, end === "timeout");
    assert.equal(last.isSuccess, end === "success");
    for (const chunk of chunks.slice(0, -1)) {
      assert.ok(!chunk.isTerminal && !chunk.isTruncated && chunk.stepsExecuted === HORIZON);
    }
  }
});

Deno.test("Rollout hands on the very observations that the policy saw", async () => {
  using policy = makePolicy();
  const robots = [1, 2, 3].map(() => new ScriptedRobot(script));
  const { all } = await runEpisodes(policy, robots, 6);
  const given = new Set(robots.flatMap((robot) => robot.observed));
  for (const { observation, tokens, logProb, value } of all) {
    assert.ok(given.has(observation));
    // What was recorded is what the policy says about exactly this observation.
    const [again] = await policy.computeActionChunkLogProb([observation], [tokens]);
    const [critic] = await policy.computeActionChunkValue([observation], [tokens]);
    assert.ok(Math.abs(again - logProb) < 1e-4, `${again} is not ${logProb}`);
    assert.ok(Math.abs(critic - value) < 1e-4, `${critic} is not ${value}`);
  }
  assert.equal(new Set(all.map((t) => t.observation)).size, all.length);
});

Deno.test("Rollout hands on image tokens while they are wanted, and no others", async () => {
  using policy = makePolicy();
  let isWanted = false;
  const rollout = new Rollout({
    robots: [1, 2].map(() => new ScriptedRobot(() => ({ steps: 40, end: "success" }))),
    nextEpisode: countedEpisodes(2),
    temperature: 1,
    random: seededRandom(3),
    keepsImageTokens: () => isWanted,
  });
  for (isWanted of [false, true, false]) {
    const transitions = await rollout.advance(policy, 0);
    assert.equal(transitions.length, 2);
    for (const transition of transitions) {
      const { input } = policy.prepareChunks([transition.observation], [transition.tokens]);
      const own = isWanted ? (await policy.encodeImages(input))[0] : undefined;
      assert.deepEqual(transition.imageTokens, own);
      assert.equal("imageTokens" in transition, isWanted);
    }
  }
});

Deno.test("Rollout bootstraps only an episode that time cut off", async () => {
  using policy = makePolicy();
  const robot = new ScriptedRobot(script);
  const { all } = await runEpisodes(policy, [robot], 6);
  const cut = all.filter((t) => t.isTruncated);
  assert.equal(cut.length, 2);
  assert.ok(all.every((t) => t.isTruncated || t.finalValue === 0));
  for (const chunk of cut) {
    const final = robot.observed[robot.observed.indexOf(chunk.observation) + 1];
    const [value] = await policy.observationValues([final]);
    assert.ok(Math.abs(chunk.finalValue - value) < 1e-5);
    assert.notEqual(value, 0);
  }
});

Deno.test("Rollout turns tokens into targets around the state that the policy saw", async () => {
  using policy = makePolicy();
  const robot = new ScriptedRobot(() => ({ steps: HORIZON, end: "failure" }));
  const { all: [chunk] } = await runEpisodes(policy, [robot], 1);
  const actions = policy.assets.fast.decode([...chunk.tokens], HORIZON, ACTION_DIM);
  const { stats } = policy.assets;
  const targets = toRobotActions(actions, chunk.observation.state, ACTION_DIM, stats);
  assert.deepEqual(Float32Array.from(robot.actions.flatMap((a) => [...a])), targets);
});

Deno.test("Rollout commands a robot in its own convention when the policy speaks pi's", async () => {
  using policy = makePolicy({ adaptToPi: true });
  const robot = new ScriptedRobot(() => ({ steps: HORIZON, end: "failure" }));
  const { all: [chunk] } = await runEpisodes(policy, [robot], 1);
  const actions = policy.assets.fast.decode([...chunk.tokens], HORIZON, ACTION_DIM);
  const { stats } = policy.assets;
  const targets = toRobotActions(actions, chunk.observation.state, ACTION_DIM, stats, {
    adaptToPi: true,
  });
  assert.deepEqual(Float32Array.from(robot.actions.flatMap((a) => [...a])), targets);
});

/** Its cameras give pictures that the policy cannot take as they are. */
class WideRobot extends ScriptedRobot {
  override async observe(): Promise<Observation> {
    const seen = await super.observe();
    const image = { width: 40, height: 30, data: new Uint8Array(40 * 30 * 3).fill(200) };
    return { ...seen, images: { cam_high: image, cam_left_wrist: image, cam_right_wrist: image } };
  }
}

Deno.test("Rollout fits pictures of another size, and records them as the policy saw them", async () => {
  using policy = makePolicy();
  const { all } = await runEpisodes(policy, [new WideRobot(script)], 3);
  assert.ok(all.some((t) => t.chunkIndex > 0), "pictures within an episode count too");
  for (const { observation, tokens } of all) {
    assert.equal(policy.findFault(observation, tokens), null);
    const { width, height, data } = observation.images.cam_high;
    assert.deepEqual([width, height, data[0], data[14 * 28 * 3]], [28, 28, 0, 200]);
  }
});

Deno.test("Rollout gives robots new episodes one by one and measures its time", async () => {
  using policy = makePolicy();
  const robots = [1, 2].map(() => new ScriptedRobot(script));
  const { rollout } = await runEpisodes(policy, robots, 5);
  assert.deepEqual(robots.flatMap((r) => r.seeds).sort(), [0, 1, 2, 3, 4]);
  assert.ok(rollout.times.inferMs > 0 && rollout.times.executeMs > 0);
  assert.deepEqual(await rollout.advance(policy, 0), []);
});

Deno.test("evaluatePolicy() counts successes, rewards and steps of held-out episodes", async () => {
  using policy = makePolicy();
  const ends: EpisodeScript["end"][] = ["success", "timeout", "timeout after success", "failure"];
  const held = (seed: number): EpisodeScript => ({
    steps: 5 + (seed - HELD_OUT_SEED),
    end: ends[(seed - HELD_OUT_SEED) % 4],
  });
  const robots = [1, 2, 3].map(() => new ScriptedRobot(held));
  const options = { episodes: 8, temperature: 0, seed: 1 };
  const result = await evaluatePolicy(policy, robots, options);
  assert.equal(result.successRate, 0.5);
  const steps = [5, 6, 7, 8, 9, 10, 11, 12];
  assert.equal(result.meanSteps, steps.reduce((a, b) => a + b) / 8);
  assert.equal(result.meanReward, steps.reduce((sum, n) => sum + n * (n + 1) / 2, 0) / 8);
  assert.ok(result.meanTokens > 1 && result.seconds > 0);
  const seeds = robots.flatMap((r) => r.seeds).sort();
  assert.deepEqual(seeds, [0, 1, 2, 3, 4, 5, 6, 7].map((i) => HELD_OUT_SEED + i));
  // As at the end of a run: a look before every step.
  const looks = () => robots.reduce((n, robot) => n + robot.observed.length, 0);
  const before = looks();
  const execution = { ...WHOLE_CHUNKS, executeStepsFinal: 1 };
  const single = await evaluatePolicy(policy, robots, { ...options, execution });
  assert.deepEqual([single.meanSteps, single.meanReward], [result.meanSteps, result.meanReward]);
  assert.ok(looks() - before >= 8 * result.meanSteps);
  const stopped = evaluatePolicy(policy, robots, {
    ...options,
    signal: AbortSignal.abort(new Error("stopped by a test")),
  });
  await assert.rejects(stopped, /stopped by a test/);
});

Deno.test("Rollout infers a chunk again that the policy failed at, and asks again for a final value", async () => {
  using policy = makePolicy();
  const rollout = new Rollout({
    robots: [new ScriptedRobot(() => ({ steps: 6, end: "timeout" }))],
    nextEpisode: countedEpisodes(),
    temperature: 1,
    random: seededRandom(3),
  });
  const failing = (part: "sampleActions" | "observationValues") =>
    new Proxy(policy, {
      get: (target, name) => {
        if (name === part) return () => Promise.reject(new Error("the GPU is lost"));
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const [first] = await rollout.advance(policy, 0);
  await assert.rejects(rollout.advance(failing("sampleActions"), 0), /lost/);
  const [second] = await rollout.advance(policy, 0);
  assert.deepEqual([first.chunkId, second.chunkId], ["episode-0.0", "episode-0.1"]);
  assert.equal(second.isTruncated, true);
  await rollout.advance(policy, 0);
  await assert.rejects(rollout.advance(failing("observationValues"), 0), /lost/);
  // What was executed is not lost: the next call gets its value, under the weights that sampled it.
  const [next] = await rollout.advance(policy, 7);
  assert.deepEqual([next.chunkId, next.isTruncated], ["episode-1.1", true]);
  assert.ok(next.policyVersion === 0 && next.finalValue !== 0);
  assert.equal((await rollout.advance(policy, 7))[0].chunkId, "episode-2.0");
});

/** A rollout of robots whose episodes take 10 steps unless told otherwise. */
function rollOut(options: Partial<RolloutOptions> & { steps?: number; lanes?: number } = {}) {
  const { steps = 10, lanes = 1, ...changes } = options;
  const robots = Array.from(
    { length: lanes },
    () => new ScriptedRobot(() => ({ steps, end: "timeout" })),
  );
  const rollout = new Rollout({
    robots,
    nextEpisode: countedEpisodes(),
    temperature: 1,
    random: seededRandom(3),
    ...changes,
  });
  return { rollout, robots };
}

Deno.test("Rollout keeps every step's reward", async () => {
  using policy = makePolicy();
  const { rollout } = rollOut({ steps: 6 });
  const [first] = await rollout.advance(policy, 0);
  const [second] = await rollout.advance(policy, 0);
  assert.deepEqual([...first.stepRewards, ...second.stepRewards], [1, 2, 3, 4, 5, 6]);
  assert.deepEqual([first.humanRewards.length, second.driver, second.reward], [0, "policy", 11]);
});

Deno.test("Rollout executes as many steps as planned, by schedule and by uncertainty", async () => {
  using policy = makePolicy();
  const stepsOf = async (plan: Partial<typeof WHOLE_CHUNKS>, progress: number) => {
    const { rollout, robots } = rollOut({ execution: { ...WHOLE_CHUNKS, ...plan } });
    const [chunk] = await rollout.advance(policy, 0, progress);
    assert.equal(robots[0].actions.length, chunk.stepsExecuted);
    assert.equal(chunk.stepRewards.length, chunk.stepsExecuted);
    const [next] = await rollout.advance(policy, 0, progress);
    assert.equal(next.chunkIndex, 1);
    assert.equal(next.observation.state.length, 14);
    return chunk.stepsExecuted;
  };
  assert.equal(await stepsOf({ executeSteps: 3 }, 0), 3);
  assert.equal(await stepsOf({ executeSteps: 3, executeStepsFinal: 1 }, 0.5), 2);
  // These weights are nobody's: they are unsure of every chunk.
  const unsure = { executeUncertainty: 0.01, executeMinSteps: 1 };
  assert.equal(await stepsOf(unsure, 0), 1);
  assert.equal(await stepsOf({ ...unsure, executeUncertainty: 20 }, 0), HORIZON);
});

Deno.test("Rollout ends an episode at a person's verdict, and gives scores to their steps", async () => {
  using policy = makePolicy();
  const labels = new EpisodeLabels();
  const { rollout } = rollOut({ labels });
  assert.deepEqual(labels.running, []);
  await rollout.advance(policy, 0);
  assert.deepEqual(labels.running, ["episode-0"]);
  labels.add({ episode: "current", kind: "score", value: 0.5 });
  const [scored] = await rollout.advance(policy, 0);
  assert.deepEqual([...scored.stepRewards], [5.5, 6, 7, 8]);
  assert.deepEqual([...scored.humanRewards], [0.5, 0, 0, 0]);
  labels.add({ episode: "episode-0", kind: "success" });
  const [ended] = await rollout.advance(policy, 0);
  assert.deepEqual([ended.stepsExecuted, ended.reward, ended.finalValue], [1, 10, 0]);
  assert.ok(ended.isTerminal && ended.isSuccess && !ended.isTruncated);
  assert.match(labels.add({ episode: "episode-0", kind: "failure" })!, /not running/);
  assert.equal((await rollout.advance(policy, 0))[0].chunkId, "episode-1.0");
});

Deno.test("Rollout lets a person drive one robot, chunk by chunk, while the others go on", async () => {
  using policy = makePolicy();
  const takeover = new Takeover({ robots: 2, horizon: HORIZON });
  const { rollout, robots: [, taken] } = rollOut({ takeover, lanes: 2 });
  await rollout.advance(policy, 0);
  takeover.begin(1);
  const waiting = await rollout.advance(policy, 0);
  assert.deepEqual(waiting.map(({ episodeId }) => episodeId), ["episode-0"]);
  assert.equal(taken.actions.length, HORIZON);
  const targets = Array.from(
    { length: HORIZON + 2 },
    (_, i) => new Array<number>(14).fill(0.01 * i),
  );
  assert.equal(takeover.push(targets), null);
  const drive = async () =>
    (await rollout.advance(policy, 5)).find((t) => t.episodeId.endsWith("1"))!;
  const [first, second] = [await drive(), await drive()];
  for (const [i, chunk] of [first, second].entries()) {
    assert.deepEqual([chunk.driver, chunk.chunkIndex, chunk.policyVersion], ["person", 1 + i, 5]);
    assert.deepEqual([chunk.logProb, chunk.tokenLogProbs.length], [0, 0]);
    const executed = targets.slice(i * HORIZON, i * HORIZON + chunk.stepsExecuted).flat();
    const { observation, value } = parseTransition(chunk);
    assert.deepEqual(
      chunk.tokens,
      encodeTargets(policy, Float32Array.from(executed), observation.state),
    );
    assert.equal(value, (await policy.observationValues([observation]))[0]);
    assert.equal(policy.findFault(observation, chunk.tokens), null);
  }
  // The tenth step is the last one of the episode.
  assert.deepEqual([first.stepsExecuted, second.stepsExecuted], [HORIZON, 2]);
  assert.deepEqual([second.isTruncated, [...second.stepRewards]], [true, [9, 10]]);
  assert.notEqual(second.finalValue, 0);
  assert.deepEqual(
    taken.actions.slice(-2).map((a) => a[3]),
    [4, 5].map((i) => Math.fround(0.01 * i)),
  );
  takeover.release();
  const after = await rollout.advance(policy, 6);
  assert.deepEqual(after.map(({ driver }) => driver), ["policy", "policy"]);
});

Deno.test("Rollout cuts the policy's chunk where a person takes over, and theirs at the release", async () => {
  using policy = makePolicy();
  const takeover = new Takeover({ robots: 1, horizon: HORIZON });
  /** Somebody acts right after a step. */
  class WatchedRobot extends ScriptedRobot {
    override async step(action: Float32Array) {
      const outcome = await super.step(action);
      if (this.actions.length === 2) takeover.begin(0, () => new Float32Array(14));
      if (this.actions.length === 5) takeover.release();
      return outcome;
    }
  }
  const robot = new WatchedRobot(() => ({ steps: 6, end: "success" }));
  const { rollout } = rollOut({ takeover, robots: [robot] });
  const chunks = [];
  for (let i = 0; i < 3; i++) chunks.push(...await rollout.advance(policy, 0));
  assert.deepEqual(chunks.map((t) => [t.chunkIndex, t.driver, t.stepsExecuted]), [
    [0, "policy", 2],
    [1, "person", 3],
    [2, "policy", 1],
  ]);
  assert.ok(chunks[2].isSuccess && chunks[2].isTerminal);
  assert.ok(chunks.slice(0, 2).every((t) => !t.isTerminal && !t.isTruncated && !t.isCutShort));
});

Deno.test("Rollout waits for a person when no other robot can move", async () => {
  using policy = makePolicy();
  const takeover = new Takeover({ robots: 1, horizon: HORIZON });
  const { rollout, robots: [robot] } = rollOut({ takeover });
  takeover.begin();
  assert.deepEqual(await rollout.advance(policy, 0), []);
  assert.equal(robot.actions.length, 0);
  takeover.push([new Array(14).fill(0)]);
  const [chunk] = await rollout.advance(policy, 0);
  assert.deepEqual([chunk.driver, chunk.stepsExecuted], ["person", 1]);
});
