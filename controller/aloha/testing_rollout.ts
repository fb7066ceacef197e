/**
 * What the tests of rollouts on arms share: a policy that waves, a world that goes by script.
 *
 * @module
 */

import assert from "node:assert/strict";
import { endsEpisode } from "../../common/chunk_end.ts";
import { makeAssets } from "../../common/policy/testing.ts";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import type {
  Behaviour,
  ChunkTransition,
  Observation,
  SampledChunk,
  StepOutcome,
} from "../../common/types.ts";
import { parseTransition } from "../../common/wire/validate.ts";
import type { CameraView } from "../camera/camera_set.ts";
import { ArmRollout, type ArmRolloutOptions } from "./arm_rollout.ts";
import type { ChunkPolicy } from "./chunk_policy.ts";
import type { TestRobot } from "./testing.ts";
import type { EpisodeWorld } from "./world/episode_world.ts";
import { SwitchedPictures } from "./world/testing.ts";

/** H of {@link WavingPolicy}. */
export const HORIZON = 10;
/** What {@link WavingPolicy} says that it computes with. */
export const BEHAVIOUR: Behaviour = { precision: "int8", decoder: "wasm" };
/** The value of every observation that has no chunk. */
export const FINAL_VALUE = 7.5;
const NUMBERS = new Array<number>(ALOHA_DIM).fill(0);
const FIELD = {
  mean: NUMBERS,
  std: NUMBERS.map(() => 1),
  q01: NUMBERS.map(() => -1),
  q99: NUMBERS.map(() => 1),
};

/** A policy that turns the left waist by 10 mrad a step, to and fro with each chunk. Needs `useDevice`. */
export class WavingPolicy implements ChunkPolicy {
  /** Chunks of {@link HORIZON} steps of both arms. */
  readonly shape = {
    horizon: HORIZON,
    actionDim: ALOHA_DIM,
    variant: { siglip: { imageSize: 4 } },
  } as const;
  /** Numbers in ±1 stay as they are. */
  readonly assets: ChunkPolicy["assets"] = {
    fast: makeAssets().fast,
    stats: { state: FIELD, actions: FIELD },
  };
  /** None. */
  readonly decoder = null;
  /** Its precision alone. */
  readonly network = { backbone: { precision: "int8" } } as const;
  /** What it saw, oldest first. */
  readonly seen: Observation[] = [];
  /** Waited for before a chunk is there. */
  think: () => Promise<void> = () => Promise.resolve();

  /** The next waves. */
  async sampleActions(observations: readonly Observation[]): Promise<SampledChunk[]> {
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

  /** {@link FINAL_VALUE}. */
  observationValues(observations: readonly Observation[]): Promise<Float32Array> {
    return Promise.resolve(Float32Array.from(observations, () => FINAL_VALUE));
  }
}

/** A world whose steps are worth 1, 2, 3, … and whose episodes end by script. */
export class ScriptedWorld implements EpisodeWorld {
  /** The task. */
  readonly prompt = "wave";
  /** What the cameras show. */
  readonly pictures = new SwitchedPictures();
  /** Seeds of the episodes. */
  readonly seeds: number[] = [];
  /** Rewards given in this episode. */
  given = 0;
  /** Steps of this episode. */
  steps = 0;
  /** At which step it ends, and how. */
  script: { readonly steps: number; readonly end: Partial<StepOutcome> } = { steps: 1e6, end: {} };
  /** Waited for before an episode begins. */
  onBegin: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  /** Begin an episode. */
  async begin(seed: number, signal: AbortSignal): Promise<void> {
    await this.onBegin(signal);
    this.seeds.push(seed);
    this.steps = this.given = 0;
  }

  /** Take a step of the script. */
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

  /** What the cameras show now. */
  observe(): CameraView {
    return this.pictures.observe();
  }

  /** Nothing is held. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** A rollout on arms, with everything around it. */
export interface TestRollout {
  /** The rollout. */
  readonly rollout: ArmRollout;
  /** Who acts. */
  readonly policy: WavingPolicy;
  /** Where. */
  readonly world: ScriptedWorld;
  /** Ends everything. */
  readonly ending: AbortController;
  /** Every record of the motion thread, copies. */
  readonly records: readonly Float64Array[];
  /** Go on until an episode has ended; the policy's version may be another one at each call. */
  readonly episodeOf: (version?: (call: number) => number) => Promise<ChunkTransition[]>;
}

/**
 * Set a rollout up on a robot.
 *
 * @param open The robot; its records go to this rollout from now on.
 * @param changes Options that differ from `sync` without people.
 */
export function rollOut(
  { robot, logger }: TestRobot,
  changes: Partial<ArmRolloutOptions> = {},
): TestRollout {
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
  const episodeOf = async (version: (chunk: number) => number = () => 1) => {
    const done: ChunkTransition[] = [];
    for (let chunk = 0; done.length === 0 || !endsEpisode(done[done.length - 1]);) {
      done.push(...await rollout.advance(policy, version(chunk++)));
    }
    return done;
  };
  return { rollout, policy, world, ending, records, episodeOf };
}

/**
 * Check what holds of every episode's transitions.
 *
 * @param done All of one episode that {@link WavingPolicy} alone drove.
 * @param seen What the policy saw.
 */
export function assertValid(done: readonly ChunkTransition[], seen: readonly Observation[]): void {
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

/** Sum of all rewards. */
export const sumOf = (done: readonly ChunkTransition[]): number =>
  done.reduce((sum, { reward }) => sum + reward, 0);
