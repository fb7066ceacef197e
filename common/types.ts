/**
 * The interfaces that the controller and the learner share: what a robot shows, what a policy
 * answers, and what travels to the learner. Interfaces only, no code.
 *
 * Letters used in every shape of this project: B batch, T tokens of a sequence, S decoded action
 * tokens, D model width, F MLP width, N query heads, K head width, L layers, V vocabulary,
 * H horizon (control steps of a chunk), A action dimension.
 *
 * @module
 */

import type { Precision } from "./config/config.ts";

/** Names of the three cameras that the policy sees, in the order of its image tokens. */
export const CAMERA_NAMES = ["cam_high", "cam_left_wrist", "cam_right_wrist"] as const;

/** One of {@link CAMERA_NAMES}. */
export type CameraName = (typeof CAMERA_NAMES)[number];

/** An 8-bit RGB picture. */
export interface RgbImage {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** Rows from top to bottom, `[height, width, 3]`, values 0–255. */
  readonly data: Uint8Array;
}

/** What the policy sees at one instant. */
export interface Observation {
  /** The cameras' pictures, resized to what the policy wants. */
  readonly images: Readonly<Record<CameraName, RgbImage>>;
  /** ALOHA's 14 numbers: per arm 6 joints (rad) and the gripper (0 closed – 1 open), left first. */
  readonly state: Float32Array;
  /** The task in words, such as "reach the red ball". */
  readonly prompt: string;
}

/** What a control step did. */
export interface StepOutcome {
  /** Reward of this step alone, whoever gave it. */
  readonly reward: number;
  /** What of it a person gave; nothing if absent. */
  readonly humanReward?: number;
  /** The task has ended by itself: success or failure. No value is bootstrapped. */
  readonly isTerminal: boolean;
  /** The time limit has ended the episode. The value of the final observation is bootstrapped. */
  readonly isTruncated: boolean;
  /** The task's success condition has been met in this episode. */
  readonly isSuccess: boolean;
}

/** A two-armed robot, simulated or real, driven one control step (20 ms) at a time. */
export interface Robot {
  /** Start an episode; the same seed gives the same start. */
  reset(seed: number): Promise<void>;
  /** Read cameras and joints. */
  observe(): Promise<Observation>;
  /**
   * Execute one control step.
   * @param action ALOHA's 14 numbers as absolute targets: rad, gripper 0–1.
   */
  step(action: Float32Array): Promise<StepOutcome>;
  /** Release everything held. */
  [Symbol.dispose](): void;
}

/** What decodes a chunk's tokens: one of tfjs's backends, or the engine that runs on the GPU itself. */
export const DECODERS = ["cpu", "wasm", "webgpu", "engine"] as const;

/** One of {@link DECODERS}. */
export type Decoder = (typeof DECODERS)[number];

/**
 * What computed a chunk's log-probabilities. It travels with each chunk, for it may change within one
 * connection: a policy that has lost its GPU comes back on another device.
 */
export interface Behaviour {
  /** How the policy's matrices were kept. */
  readonly precision: Precision;
  /** What decoded the tokens. */
  readonly decoder: Decoder;
}

/** A chunk as the policy sampled it. */
export interface SampledChunk {
  /** FAST ids `[S]`, each in [0, FAST vocabulary). Not ids of the language vocabulary. */
  readonly tokens: Int32Array;
  /** Normalised actions `[H, A]` decoded from the tokens, nominally in [−1, 1]. */
  readonly actions: Float32Array;
  /** Sum of the tokens' log-probabilities under the masked softmax, in nats, ≤ 0. */
  readonly logProb: number;
  /** Each token's log-probability `[S]`, in nats, ≤ 0. */
  readonly tokenLogProbs: Float32Array;
  /** What computed the log-probabilities. */
  readonly behaviour: Behaviour;
  /** Mean entropy a token of the masked softmax, in nats. */
  readonly entropy: number;
  /** The critic's estimate for the observation (or the observation–chunk pair). */
  readonly value: number;
  /** `[I · D]`: the pictures as the policy's image encoder told them, if they were asked for. */
  readonly imageTokens?: Float32Array;
}

/** Who may move the robot: the policy, or a person who has taken over from it. */
export const DRIVERS = ["policy", "person"] as const;

/** One of {@link DRIVERS}. */
export type Driver = (typeof DRIVERS)[number];

/**
 * One chunk's worth of experience: what the learner trains on. A chunk of which no step was executed
 * is no experience, and none of these.
 */
export interface ChunkTransition {
  /** Unique over all controllers and restarts. The learner drops a second one with the same id. */
  readonly chunkId: string;
  /** Unique over all controllers and restarts. */
  readonly episodeId: string;
  /** Position of the chunk in its episode, from 0. */
  readonly chunkIndex: number;
  /** Who moved the robot. */
  readonly driver: Driver;
  /** Version of the weights that sampled the chunk or, of a person's, told its value. */
  readonly policyVersion: number;
  /** The exact pixels, state and prompt that the policy saw. */
  readonly observation: Observation;
  /** FAST ids `[S]`. Of a person's chunk: the executed targets, the last one repeated up to H. */
  readonly tokens: Int32Array;
  /** Behaviour log-probability of the tokens, in nats, ≤ 0. Of a person's chunk, which has none, 0. */
  readonly logProb: number;
  /**
   * Behaviour log-probability of each token `[S]`, in nats, ≤ 0. They add up to `logProb` but for
   * rounding: within 1e-4 · (1 + |logProb|). Of a person's chunk, which has none, `[0]`.
   */
  readonly tokenLogProbs: Float32Array;
  /** What computed log-probabilities and value: they are that policy's own, not the learner's. */
  readonly behaviour: Behaviour;
  /** The critic's value at sampling time. */
  readonly value: number;
  /** Sum of the rewards of the executed steps, whoever gave them. */
  readonly reward: number;
  /**
   * Reward of each executed step `[h]`, whoever gave it. They add up to `reward` but for rounding:
   * within 1e-4 · (1 + Σ|r|).
   */
  readonly stepRewards: Float32Array;
  /** What of `stepRewards` a person gave: `[h]`, or `[0]` where nobody gave any. */
  readonly humanRewards: Float32Array;
  /** Control steps truly executed, 1…H. */
  readonly stepsExecuted: number;
  /** The episode ended by success or failure inside this chunk. */
  readonly isTerminal: boolean;
  /** The time limit ended the episode inside this chunk. */
  readonly isTruncated: boolean;
  /**
   * A stop, a fault or the program's end has ended the episode inside this chunk or right after it. Of
   * this, `isTerminal` and `isTruncated` at most one holds; none does while the episode goes on.
   */
  readonly isCutShort: boolean;
  /** The episode had met its success condition by the end of this chunk. */
  readonly isSuccess: boolean;
  /**
   * The critic's value of the observation after the last executed step, where the episode was
   * truncated or cut short; 0 otherwise. Where nobody could look any more it is that of the last
   * observation of the episode.
   */
  readonly finalValue: number;
  /**
   * `[I · D]`: what the policy's image encoder made of the observation's pictures, where the learner
   * asked for it: one whose encoder is frozen need not run it again.
   */
  readonly imageTokens?: Float32Array;
}

/** A named tensor in host memory: how weights cross files and sockets. */
export interface HostTensor {
  /** Parameter path with openpi's names, such as `PaliGemma/llm/final_norm/scale`. */
  readonly name: string;
  /** Dimensions. */
  readonly shape: readonly number[];
  /** Row-major float32 values. */
  readonly data: Float32Array;
}

/** Takes lines for people. Library code never writes to the console itself. */
export interface Logger {
  /** Progress. */
  info(message: string): void;
  /** Something a person should look at. */
  warn(message: string): void;
  /** Something failed. */
  error(message: string): void;
}
