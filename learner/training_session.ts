/**
 * What the training thread holds: the policy, its optimiser and what measures newness.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Config } from "../common/config/config.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { CRITIC_PATHS } from "../common/policy/chunk_decoder.ts";
import {
  type CriticOptions,
  type LoadedPolicy,
  loadPolicy,
  policySignature,
  readWeights,
} from "../common/policy/load.ts";
import { loadFailurePolicy } from "../common/policy/load_failure.ts";
import { loadOrRandom } from "../common/policy/load_or_random.ts";
import { normal, seededRandom } from "../common/random.ts";
import { CAMERA_NAMES, type HostTensor, type Observation } from "../common/types.ts";
import { readDemonstrations } from "./demonstrations.ts";
import type { ImitationExample } from "./imitation.ts";
import { wantsImageTokens } from "./ppo/image_tokens.ts";
import { RandomNetworkDistillation } from "./ppo/rnd.ts";
import { featureCount, observationFeatures } from "./ppo/rnd_features.ts";
import { PpoTrainer } from "./ppo/update.ts";
import { ValueNormalizer } from "./ppo/value_normalizer.ts";
import type { TrainerState } from "./train_state.ts";
import type {
  TrainerOptimizer,
  TrainerReady,
  TrainerRequest,
  TrainerUpdated,
} from "./trainer_messages.ts";

/** ALOHA's state. */
const STATE_SIZE = 14;
/** Sizes of random network distillation, small beside any policy; the step size is its paper's. */
const NEWNESS = { hidden: 128, embedding: 64, learningRate: 1e-4 };
/** So that newness is not measured by the numbers that anything else is drawn from. */
const NEWNESS_SEED = 7_919;
/** Where the critic's own last layer and newness lie among the optimiser's tensors. */
const CRITIC_PREFIX = "critic/";
const NEWNESS_PREFIX = "newness/";

/** Holds a policy and trains it. Owner of both policies, the optimiser and newness. */
export class TrainingSession implements Disposable {
  readonly #config: Config;
  readonly #loaded: LoadedPolicy;
  readonly #anchor: ActorCritic | undefined;
  readonly #trainer: PpoTrainer;
  readonly #newness: RandomNetworkDistillation | undefined;
  readonly #demonstrations: readonly ImitationExample[];

  private constructor(
    config: Config,
    loaded: LoadedPolicy,
    anchor: ActorCritic | undefined,
    demonstrations: readonly ImitationExample[],
  ) {
    this.#config = config;
    this.#loaded = loaded;
    this.#anchor = anchor;
    this.#trainer = new PpoTrainer(loaded.policy, config, anchor);
    this.#demonstrations = demonstrations;
    if (config.intrinsicRewardWeight > 0) {
      const random = seededRandom(config.seed + NEWNESS_SEED);
      const features = featureCount(STATE_SIZE);
      this.#newness = new RandomNetworkDistillation({ features, ...NEWNESS }, random);
    }
  }

  /**
   * Load everything. The device must be in force.
   * @throws Error, one sentence, if something cannot be loaded, trained or resumed.
   */
  static async open(
    { checkpoint, reference, config, state }: Omit<TrainerRequest & { kind: "start" }, "kind">,
  ): Promise<TrainingSession> {
    const random = seededRandom(config.seed);
    const critic: CriticOptions & Config = { ...config, normal: () => normal(random) };
    // A resumed run goes on with its own weights or not at all. There are only simulated robots yet.
    const onFailure = config.resume
      ? "abort"
      : loadFailurePolicy("simulated", config.onLoadFailure);
    using owned = new DisposableStack(); // frees what is there if something after it throws
    const loaded = await loadOrRandom(checkpoint, critic, onFailure);
    owned.use(loaded.policy);
    const anchor = config.klWeight > 0 ? await loadPolicy(reference, critic) : undefined;
    owned.use(anchor?.policy);
    const shown = config.demonstrations === ""
      ? []
      : await readDemonstrations(config.demonstrations, loaded.policy);
    const session = new TrainingSession(config, loaded, anchor?.policy, shown);
    // A new run has settings of its own, and may train other weights than the one before.
    if (config.resume) session.#restore(state);
    owned.move();
    return session;
  }

  /** What the policy is, for controllers and checkpoints. */
  async describe(device: string): Promise<TrainerReady> {
    const { policy, checkpoint, notes, initialization } = this.#loaded;
    const { shape } = policy;
    return {
      signature: policySignature(policy, this.#config.temperature),
      weights: await this.#weights(),
      model: {
        variant: checkpoint.metadata.model.variant,
        actionDim: shape.actionDim,
        horizon: shape.horizon,
        maxTokenLen: shape.maxTokenLen,
        dialect: policy.dialect.name,
        decodePositions: shape.variant.decodePositions,
        adaptToPi: shape.adaptToPi ?? false,
        actionMode: shape.actionMode ?? "delta",
        ...(shape.normalization && { normalization: shape.normalization }),
        valueHeadHiddenDim: shape.valueHeadHiddenDim,
        maxValueSteps: shape.maxValueSteps,
        valueInput: shape.valueInput,
      },
      notes,
      initialization,
      wantsImageTokens: wantsImageTokens(policy, this.#config),
      device,
    };
  }

  /** Improve the policy. */
  async update(request: TrainerRequest & { kind: "update" }): Promise<TrainerUpdated> {
    const { update, learningRateScale, policyVersion, isCriticAlone } = request;
    // A generator of its own for each update: a resumed run draws what it would have drawn.
    const random = seededRandom(this.#config.seed + 1_000_003 * update);
    this.#trainer.adam.learningRateScale = learningRateScale;
    const demonstrations = this.#demonstrations;
    const context = { policyVersion, isCriticAlone, demonstrations };
    const metrics = await this.#trainer.update(request.estimates, random, context);
    const weights = await this.#weights(this.#trainer.isTrained);
    return { metrics, weights, tensors: tf.memory().numTensors };
  }

  /** Rate observations by how new they are, then learn them; 0 for pictures of another size. */
  async rateNewness(observations: readonly Observation[]): Promise<Float32Array> {
    if (!this.#newness) throw new RangeError("Cannot rate newness: its reward has no weight");
    const { imageSize } = this.#loaded.policy.shape.variant.siglip;
    // Chunks with other pictures are left out of the update later; they must not end the run here.
    const isSeen = ({ images }: Observation) =>
      CAMERA_NAMES.every((camera) =>
        images[camera].width === imageSize && images[camera].height === imageSize
      );
    const seen = [...observations.keys()].filter((i) => isSeen(observations[i]));
    const features = seen.map((i) => observationFeatures(observations[i]));
    const rated = await this.#newness.reward(features);
    await this.#newness.update(features);
    const out = new Float32Array(observations.length);
    seen.forEach((index, i) => out[index] = rated[i]);
    return out;
  }

  /** All that a checkpoint needs besides the weights. */
  async optimizer(): Promise<TrainerOptimizer> {
    const { adam, critic, guard, klWeight } = this.#trainer;
    const newness = await this.#newness?.toHost();
    const named = (prefix: string, tensors: readonly HostTensor[] = []) =>
      tensors.map((tensor) => ({ ...tensor, name: prefix + tensor.name }));
    return {
      tensors: [
        ...await adam.toHost(),
        ...named(CRITIC_PREFIX, await critic?.toHost()),
        ...named(NEWNESS_PREFIX, newness?.tensors),
      ],
      steps: adam.steps,
      state: {
        klWeight,
        guard,
        values: critic?.normalizer.statistics ?? null,
        newness: newness
          ? { steps: newness.steps, featureMoments: newness.featureMoments, error: newness.error }
          : null,
      },
    };
  }

  /** Weights as controllers want them: values in units of reward. */
  async #weights(isWanted?: (path: string) => boolean): Promise<HostTensor[]> {
    const weights = await readWeights(this.#loaded.policy, isWanted);
    return this.#trainer.critic?.unscale(weights, CRITIC_PATHS) ?? weights;
  }

  #restore(state: TrainerState | undefined): void {
    const { optimizer, metadata } = this.#loaded.checkpoint;
    if (!optimizer) return;
    const under = (prefix: string) =>
      optimizer.filter(({ name }) => name.startsWith(prefix))
        .map((tensor) => ({ ...tensor, name: tensor.name.slice(prefix.length) }));
    const moments = optimizer.filter(({ name }) => name.startsWith("moment/"));
    this.#trainer.adam.restore(moments, metadata.training.optimizerSteps);
    // Checkpoints of older versions have no more than the optimiser.
    if (!state) return;
    this.#trainer.guard = state.guard;
    // What was adapted goes on; what the user sets for this run holds otherwise.
    if (this.#config.imitationKlTarget > 0) this.#trainer.klWeight = state.klWeight;
    if (this.#trainer.critic && state.values) {
      const normalizer = new ValueNormalizer(undefined, state.values);
      this.#trainer.critic.restore(normalizer, under(CRITIC_PREFIX));
    }
    if (this.#newness && state.newness) {
      this.#newness.restore({ ...state.newness, tensors: under(NEWNESS_PREFIX) });
    }
  }

  /** Free everything. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
    this.#newness?.[Symbol.dispose]();
    this.#anchor?.[Symbol.dispose]();
    this.#loaded.policy[Symbol.dispose]();
  }
}
