/**
 * The way to an episode's first step on arms: whether they may move, home, and a world that is ready.
 *
 * @module
 */

import type { Logger } from "../../common/types.ts";
import type { EpisodeStart } from "../rollout.ts";
import type { EventKind } from "../step_log/layout.ts";
import type { RobotArms } from "./robot_arms.ts";
import type { Supervisor } from "./supervisor.ts";
import type { EpisodeWorld } from "./world/episode_world.ts";

/** What an {@link ArmStart} works with. */
export interface ArmStartOptions {
  /** The arms. */
  readonly arms: RobotArms;
  /** Who lets them move. */
  readonly supervisor: Supervisor;
  /** What surrounds them. */
  readonly world: EpisodeWorld;
  /** Names the next episode. */
  readonly nextEpisode: () => EpisodeStart;
  /** Waits for a person's start, where the supervisor wants one. */
  readonly waitForStart: (signal: AbortSignal) => Promise<void>;
  /** Everything that keeps this policy from moving these arms now; none if it may. */
  readonly refusals: () => readonly string[];
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Takes lines for the step log. */
  readonly record: (kind: EventKind, text: string) => void;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

/** Why an episode cannot begin or go on. */
export class Interruption extends Error {
  /** Told apart from programming errors by it. */
  override readonly name = "Interruption";
}

/** Pause before an episode is tried again that could not begin, in ms. */
const RETRY_MS = 500;

/** Brings arms and world to the start of episodes. */
export class ArmStart {
  readonly #options: ArmStartOptions;
  #refused = "";
  /** The weights whose numbers were not finite, and what they computed. */
  #broken: { readonly version: number; readonly sentence: string } | null = null;

  /** Set up; nothing moves yet. */
  constructor(options: ArmStartOptions) {
    this.#options = options;
  }

  /**
   * Begin no episode with a version of the weights any more.
   *
   * @param sentence Why.
   */
  refuseVersion(version: number, sentence: string): void {
    this.#broken = { version, sentence };
  }

  /**
   * Bring the arms home and the world to a start.
   *
   * @param policyVersion Whose turn it is.
   * @returns The episode, which may begin; null: something came in between, try again.
   */
  async begin(policyVersion: number): Promise<EpisodeStart | null> {
    const { world, arms, nextEpisode, signal } = this.#options;
    let start: EpisodeStart;
    // Whatever happens to the arms while the world gets ready ends the waiting, too.
    const left = new AbortController();
    try {
      if (!(await this.#reachHome(policyVersion))) return null;
      start = nextEpisode();
      const leaving = this.#whenNotReady(left);
      await world.begin(start.seed, AbortSignal.any([signal, left.signal]), arms.measured())
        .finally(() => left.abort(new Interruption("the wait is over")));
      await leaving;
    } catch (error) {
      if (signal.aborted || error instanceof Interruption) return null;
      throw error;
    }
    const because = this.#refusals(policyVersion);
    if (because.length > 0) return await this.#refuse(because);
    this.#refused = "";
    return start;
  }

  /** End a wait when the arms leave the state that it began in. */
  async #whenNotReady(wait: AbortController): Promise<void> {
    const { supervisor } = this.#options;
    try {
      while (supervisor.status.state === "holding") await supervisor.change(wait.signal);
      wait.abort(new Interruption("the arms are not ready any more"));
    } catch {
      // The wait is over.
    }
  }

  /** Wait until the arms may move, and home them. False: something came in between. */
  async #reachHome(policyVersion: number): Promise<boolean> {
    const { supervisor, waitForStart, signal } = this.#options;
    const { state } = supervisor.status;
    if (state !== "ready" && state !== "holding") {
      await supervisor.change(signal);
      return false;
    }
    if (supervisor.needsStart) {
      await waitForStart(signal);
      // A start that was said while the arms were away, or stopped, is not one for when they are back.
      if (["ready", "holding"].includes(supervisor.status.state)) supervisor.started();
      return false;
    }
    // Arms that may not be moved by this policy now are not sent home again and again.
    const because = this.#refusals(policyVersion);
    if (because.length > 0) {
      await this.#refuse(because);
      return false;
    }
    if (!supervisor.dispatch({ type: "home" }).isAccepted) return false;
    while (supervisor.status.state === "homing") await supervisor.change(signal);
    return supervisor.status.state === "holding" && supervisor.status.isHomed;
  }

  /** Everything that keeps these weights from moving these arms now. */
  #refusals(policyVersion: number): string[] {
    const because = [...this.#options.refusals()];
    // They would fail in every episode anew, and the arms go home in between for ever.
    if (this.#broken?.version === policyVersion) because.push(this.#broken.sentence);
    return because;
  }

  async #refuse(because: readonly string[]): Promise<null> {
    const { logger, record } = this.#options;
    const sentence = because.join("; ");
    // Said once: what is missing may take a while to come.
    if (sentence !== this.#refused) {
      logger.warn(`No episode starts: ${sentence}`);
      record("note", `no episode starts: ${sentence}`);
    }
    this.#refused = sentence;
    await new Promise<void>((resolve) => setTimeout(resolve, RETRY_MS));
    return null;
  }
}
