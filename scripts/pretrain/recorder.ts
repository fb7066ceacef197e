/**
 * Records what `deno task pretrain` imitates.
 * @module
 */

import type { Config } from "../../common/config/config.ts";
import { toRobotActions } from "../../common/policy/action_transform.ts";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import type { RandomSource } from "../../common/random.ts";
import type { Observation } from "../../common/types.ts";
import { SimulatedAloha, type SimulationOptions } from "../../controller/sim/aloha_sim.ts";
import { Adviser, recordCorrections } from "../../controller/sim/corrections.ts";
import { type Demonstration, recordDemonstrations } from "../../controller/sim/demonstrations.ts";
import type { Flags } from "./command.ts";

/** Robots that a policy drives side by side: its chunks are computed in one batch. */
const PUPILS = 32;

/** What one round of recording came to. */
export interface Recording {
  /** Observations and what the demonstrator does there. */
  readonly examples: Demonstration[];
  /** Share of the episodes that succeeded, whoever drove, 0–1. */
  readonly successRate: number;
}

/** Records round by round; no two rounds have episodes in common. Owner of its robots. */
export class Recorder implements Disposable {
  readonly #simulation: SimulationOptions;
  readonly #config: Config;
  readonly #flags: Flags;
  readonly #random: RandomSource;
  readonly #signal: AbortSignal;
  readonly #owned = new DisposableStack();
  readonly #robots: SimulatedAloha[] = [];
  #adviser: Adviser | undefined;
  #rounds = 0;

  private constructor(
    simulation: SimulationOptions,
    config: Config,
    flags: Flags,
    random: RandomSource,
    signal: AbortSignal,
  ) {
    this.#simulation = simulation;
    this.#config = config;
    this.#flags = flags;
    this.#random = random;
    this.#signal = signal;
  }

  /**
   * Make the first robot, and for `transfer_cube` the demonstrator's.
   *
   * @param signal Stops a recording between two episodes.
   */
  static async create(
    simulation: SimulationOptions,
    config: Config,
    flags: Flags,
    random: RandomSource,
    signal: AbortSignal,
  ): Promise<Recorder> {
    const recorder = new Recorder(simulation, config, flags, random, signal);
    await recorder.#add({ ...simulation, reach: { boxMarginM: flags.boxMargin } });
    if (simulation.task === "transfer_cube") {
      const { speed, graspBias: graspBiasM } = flags;
      recorder.#adviser = recorder.#owned.use(
        await Adviser.create(simulation, { speed, graspBiasM }),
      );
    }
    return recorder;
  }

  /**
   * Record one round's share of the episodes.
   *
   * @param policy Drives some chunks of `transfer_cube` itself; nobody does if it is not there yet.
   */
  async record(policy: ActorCritic | undefined): Promise<Recording> {
    const { rounds, ownShare } = this.#flags;
    const episodes = Math.ceil(this.#flags.episodes / rounds);
    const firstSeed = (this.#config.seed * rounds + this.#rounds++) * episodes;
    if (this.#adviser === undefined) return this.#demonstrations(episodes);
    while (policy && ownShare > 0 && this.#robots.length < PUPILS) {
      await this.#add(this.#simulation);
    }
    return await this.#corrections(this.#adviser, episodes, firstSeed, policy);
  }

  #demonstrations(episodes: number): Recording {
    const { stride, speed, jointNoise, aimNoise, aimBias, scatterShare } = this.#flags;
    return recordDemonstrations(this.#robots[0], {
      episodes,
      firstSeed: 0,
      horizon: this.#config.horizon,
      stride,
      scatter: scatterShare > 0 ? { share: scatterShare, random: this.#random } : undefined,
      demonstrator: {
        speed,
        jointNoiseRad: jointNoise,
        aimNoiseM: aimNoise,
        aimBiasM: aimBias,
        random: this.#random,
      },
      onEpisode: () => this.#signal.throwIfAborted(),
    });
  }

  /** What to do wherever robots get to, disturbed or driven by the policy. */
  #corrections(
    adviser: Adviser,
    episodes: number,
    firstSeed: number,
    policy: ActorCritic | undefined,
  ): Promise<Recording> {
    const { horizon, actionDim } = this.#config;
    const { disturbShare, disturbJoints, disturbGrippers, ownShare, ownTemperature } = this.#flags;
    const act = async (observations: readonly Observation[]) => {
      const sampling = { temperature: ownTemperature, random: this.#random };
      const { shape, assets: { stats } } = policy!;
      const chunks = await policy!.sampleActions(observations, sampling);
      return chunks.map(({ actions }, i) =>
        toRobotActions(actions, observations[i].state, actionDim, stats, shape)
      );
    };
    return recordCorrections(this.#robots, adviser, {
      episodes,
      firstSeed,
      horizon,
      disturbance: {
        share: disturbShare,
        jointRad: disturbJoints,
        gripperShare: disturbGrippers,
      },
      pupil: policy && ownShare > 0 ? { share: ownShare, act } : undefined,
      random: this.#random,
      onEpisode: () => this.#signal.throwIfAborted(),
    });
  }

  async #add(simulation: SimulationOptions): Promise<void> {
    this.#robots.push(this.#owned.use(await SimulatedAloha.create(simulation)));
  }

  /** Free the robots. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
