/**
 * A real room around the arms: cameras see it, and a person puts things in place.
 *
 * A room gives no reward. Whoever watches does, and ends the episode by success or failure: the rollout
 * hears that from `episode_labels.ts`. An episode that nobody judges is truncated at its step budget.
 *
 * @module
 */

import type { Logger, StepOutcome } from "../../../common/types.ts";
import type { CameraView } from "../../camera/camera_set.ts";
import type { Operator } from "../operator/operator.ts";
import type { EpisodeWorld } from "./episode_world.ts";
import { type PictureSource, waitForPictures } from "./pictures.ts";

/** What a {@link CameraWorld} needs. */
export interface CameraWorldOptions {
  /** The task in words, for the policy. */
  readonly prompt: string;
  /** The cameras; the world owns them. */
  readonly pictures: PictureSource;
  /** Who starts episodes. */
  readonly operator: Operator;
  /** Control steps after which an episode is cut off, 1 or more. */
  readonly maxEpisodeSteps: number;
  /** Begin episodes without the operator's start: nobody has to put anything in place. */
  readonly autoStart: boolean;
  /** Takes lines about what an episode waits for. */
  readonly logger: Logger;
}

/** See the module. */
export class CameraWorld implements EpisodeWorld {
  /** The task in words, for the policy. */
  readonly prompt: string;
  readonly #options: CameraWorldOptions;
  #steps = 0;
  #isRunning = false;

  /**
   * Set the world up; nothing is waited for yet.
   *
   * @param options What it needs.
   * @throws {RangeError} The step budget is no integer of 1 or more.
   */
  constructor(options: CameraWorldOptions) {
    const { maxEpisodeSteps } = options;
    if (!Number.isInteger(maxEpisodeSteps) || maxEpisodeSteps < 1) {
      throw new RangeError(
        `Cannot use cameras and an operator: maxEpisodeSteps is ${maxEpisodeSteps}, expected an ` +
          "integer of 1 or more",
      );
    }
    this.#options = options;
    this.prompt = options.prompt;
  }

  /**
   * Wait until the cameras show something and, without `autoStart`, until the operator says start. The
   * cameras must show something at that moment too, or the operator is asked again: an arm that begins
   * by itself when a cable is plugged in would surprise whoever holds the cable.
   *
   * @param _seed Nothing here can be placed by it.
   * @param signal Ends the waiting.
   * @throws {unknown} The signal's reason, when it is aborted.
   */
  async begin(_seed: number, signal: AbortSignal): Promise<void> {
    const { pictures, operator, autoStart, logger } = this.#options;
    this.#isRunning = false;
    await waitForPictures(pictures, logger, signal);
    if (!autoStart) {
      logger.info(
        "The episode waits for the operator: put everything in place, then say start (Enter)",
      );
      await operator.waitForStart(signal);
      for (let view = pictures.observe(); view.kind !== "pictures"; view = pictures.observe()) {
        logger.warn(`The episode cannot start: ${view.sentence}`);
        await waitForPictures(pictures, logger, signal);
        logger.info("The cameras are back: say start (Enter) again");
        await operator.waitForStart(signal);
      }
    }
    this.#steps = 0;
    this.#isRunning = true;
  }

  /**
   * Count a control step.
   *
   * @param _measured Where the arms are; people judge what they see.
   * @returns What the step came to.
   * @throws {Error} No episode is running.
   */
  onStep(_measured: ArrayLike<number>): StepOutcome {
    if (!this.#isRunning) {
      throw new Error(
        `Cannot judge a step: no episode is running after ${this.#steps} steps; begin one first`,
      );
    }
    this.#steps++;
    const isTruncated = this.#steps >= this.#options.maxEpisodeSteps;
    this.#isRunning = !isTruncated;
    return { reward: 0, isTerminal: false, isTruncated, isSuccess: false };
  }

  /** What the cameras show now. */
  observe(): CameraView {
    return this.#options.pictures.observe();
  }

  /** End the episode and close the cameras. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isRunning = false;
    await this.#options.pictures[Symbol.asyncDispose]();
  }
}
