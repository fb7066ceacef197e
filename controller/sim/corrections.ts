/**
 * Records what the demonstrator would do wherever a disturbed robot gets to.
 *
 * At every chunk the demonstrator is asked what it would do from here, on a copy of the robot; that is
 * the example. The robot itself executes the same chunk, or one that noise has spoiled, or a pupil's.
 * So examples show ways back from mistakes, and never the mistakes (DART: Laskey et al., "DART: Noise
 * Injection for Robust Imitation Learning", 2017).
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM } from "../../common/robot/aloha.ts";
import { normal, type RandomSource } from "../../common/random.ts";
import type { Observation } from "../../common/types.ts";
import { SimulatedAloha, type SimulationOptions } from "./aloha_sim.ts";
import type { Demonstration } from "./demonstrations.ts";
import { TransferCubeTask } from "./transfer_cube_task.ts";
import { createDemonstrator, type Demonstrator, type DemonstratorOptions } from "./demonstrator.ts";

/** How the robot is disturbed. */
export interface Disturbance {
  /** Share of the chunks that are spoiled, 0–1. */
  readonly share: number;
  /** Standard deviation of the offset that a spoiled chunk has on each joint, in rad. */
  readonly jointRad: number;
  /** Share of the spoiled chunks in which a gripper opens or closes at random, 0–1. */
  readonly gripperShare: number;
}

/** How to record. */
export interface CorrectionOptions {
  /** Episodes to record. */
  readonly episodes: number;
  /** Seed of the first episode; the others follow. */
  readonly firstSeed: number;
  /** H, and the control steps from one example to the next. */
  readonly horizon: number;
  /** How the robot is disturbed. */
  readonly disturbance: Disturbance;
  /** Who drives now and then instead. */
  readonly pupil?: Pupil;
  /** Independent uniform numbers in [0, 1). */
  readonly random: RandomSource;
  /** Called after each episode. */
  readonly onEpisode?: () => void;
}

/**
 * A policy that learns, and drives some chunks itself: then examples show what to do where it gets to
 * (DAgger: Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to
 * no-regret online learning", 2011).
 */
export interface Pupil {
  /** Share of the chunks that it drives, 0–1. */
  readonly share: number;
  /** Its chunks, `[H, 14]` absolute targets each. */
  readonly act: (observations: readonly Observation[]) => Promise<readonly Float32Array[]>;
}

/** Says what the demonstrator would do from where a robot is. Owner of the copy that it tries on. */
export class Adviser implements Disposable {
  readonly #copy: SimulatedAloha;
  readonly #demonstrator: Demonstrator;

  private constructor(copy: SimulatedAloha, demonstrator: Demonstrator) {
    this.#copy = copy;
    this.#demonstrator = demonstrator;
  }

  /** Make the copy. */
  static async create(
    simulation: SimulationOptions,
    options: DemonstratorOptions,
  ): Promise<Adviser> {
    const copy = await SimulatedAloha.create({ ...simulation, imageSize: 1, maxEpisodeSteps: 1e6 });
    return new Adviser(copy, createDemonstrator(copy, options));
  }

  /** The demonstrator's next H commands, `[H, 14]`; past success the last one is repeated. */
  advise(robot: SimulatedAloha, horizon: number): Float32Array {
    const copy = this.#copy;
    copy.resetSync(0);
    const { qpos, qvel, ctrl } = robot.data.views;
    copy.data.views.qpos.set(qpos);
    copy.data.views.qvel.set(qvel);
    copy.data.views.ctrl.set(ctrl);
    copy.data.forward();
    this.#demonstrator.reset();
    const chunk = new Float32Array(horizon * ALOHA_DIM);
    for (let h = 0; h < horizon; h++) {
      const at = h * ALOHA_DIM;
      if (copy.hasEnded) chunk.copyWithin(at, at - ALOHA_DIM, at);
      else {
        const action = this.#demonstrator.act();
        chunk.set(action, at);
        copy.stepSync(action);
      }
    }
    return chunk;
  }

  /** Free the copy. */
  [Symbol.dispose](): void {
    this.#copy[Symbol.dispose]();
  }
}

/**
 * Let robots practise, disturbed or driven by a pupil, and record what the demonstrator would do.
 *
 * @param robots One or more, which practise side by side.
 */
export async function recordCorrections(
  robots: readonly SimulatedAloha[],
  adviser: Adviser,
  options: CorrectionOptions,
): Promise<{ examples: Demonstration[]; successRate: number }> {
  const { episodes, firstSeed, horizon, disturbance, pupil, random } = options;
  const examples: Demonstration[] = [];
  let started = 0, successes = 0;
  const busy = new Set<SimulatedAloha>();
  for (;;) {
    for (const robot of robots) {
      if (busy.has(robot) && !robot.hasEnded) continue;
      if (busy.delete(robot)) options.onEpisode?.();
      if (started === episodes) continue;
      robot.resetSync(firstSeed + started++);
      busy.add(robot);
    }
    if (busy.size === 0) return { examples, successRate: successes / episodes };
    const shown = Array.from(busy, (robot) => ({
      robot,
      observation: robot.observeSync(),
      actions: adviser.advise(robot, horizon),
      scene: cubeFromGripper(robot),
    }));
    examples.push(...shown.map(({ robot: _, ...example }) => example));
    const own = await pupil?.act(shown.map(({ observation }) => observation));
    shown.forEach(({ robot, actions }, i) => {
      let chunk = actions;
      if (own !== undefined && random() < pupil!.share) chunk = own[i];
      else if (random() < disturbance.share) chunk = spoil(actions, disturbance, random);
      for (let h = 0; h < horizon && !robot.hasEnded; h++) {
        const outcome = robot.stepSync(chunk.subarray(h * ALOHA_DIM, (h + 1) * ALOHA_DIM));
        if (outcome.isTerminal) successes++;
      }
    });
  }
}

/** A chunk with a constant error, so that the robot really gets somewhere else. */
function spoil(
  actions: Float32Array,
  { jointRad, gripperShare }: Disturbance,
  random: RandomSource,
): Float32Array {
  const spoilt = actions.slice();
  const offset = Float32Array.from({ length: ALOHA_DIM }, () => jointRad * normal(random));
  const turned = random() < gripperShare ? (random() < 0.7 ? 2 : 1) * ARM_DIM - 1 : -1;
  const gripper = random() < 0.5 ? 0.3 : 1;
  for (let i = 0; i < spoilt.length; i++) {
    const j = i % ALOHA_DIM;
    if (j === turned) spoilt[i] = gripper;
    else if (j % ARM_DIM !== ARM_DIM - 1) spoilt[i] += offset[j];
  }
  return spoilt;
}

/** From the right pinch point to the cube, in the world, in decimetres. */
function cubeFromGripper({ task, data }: SimulatedAloha): Float32Array | undefined {
  if (!(task instanceof TransferCubeTask)) return undefined;
  const { siteXpos } = data.views;
  return Float32Array.from(task.cubePosition, (x, k) => 10 * (x - siteXpos[3 + k]));
}
