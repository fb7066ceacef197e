/**
 * The interface between a rollout and whatever surrounds the arms: what they work on, who looks at it
 * and who says how well it went.
 *
 * The arms move by themselves (see `motion/`); a world is told what they did. So the same loop runs in a
 * simulated scene and in a room with cameras and a person.
 *
 * @module
 */

import type { StepOutcome } from "../../../common/types.ts";
import type { CameraView } from "../../camera/camera_set.ts";

/** Surroundings of the arms, one episode after another. */
export interface EpisodeWorld extends AsyncDisposable {
  /** The task in words, for the policy. */
  readonly prompt: string;

  /**
   * Begin an episode; the arms stand at their start. May wait for cameras and people.
   *
   * @param seed Decides where things are, in worlds that can place them.
   * @param signal Ends the waiting.
   * @param measured Where the arms stand `[14]`: rad, grippers 0–1. Without it, at the reset pose with
   * open grippers.
   * @throws {unknown} The signal's reason, when it is aborted.
   */
  begin(seed: number, signal: AbortSignal, measured?: ArrayLike<number>): Promise<void>;

  /**
   * One control step of 20 ms has been executed. Call it for each one in order, from the first of an
   * episode to the one whose outcome ends it.
   *
   * @param measured ALOHA's 14 numbers after it: rad, grippers as their linear opening 0–1.
   * @returns What the step came to.
   * @throws {Error} No episode is running.
   */
  onStep(measured: ArrayLike<number>): StepOutcome;

  /** Pictures as of now, of the policy's size; or why there are none. Never waits. */
  observe(): CameraView;
}
