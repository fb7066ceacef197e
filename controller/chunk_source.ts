/**
 * Where chunks come from: simulated robots in step, or two arms in real time.
 *
 * @module
 */

import type { RouteHandler } from "../common/http/status_app.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import type { ChunkTransition } from "../common/types.ts";
import type { RolloutTimes } from "./rollout.ts";

/** The control loop's view of a robot or several. */
export interface ChunkRunner {
  /** Where the time went. */
  readonly times: RolloutTimes;
  /**
   * Go on by one chunk.
   *
   * @param policy May be another one each time.
   * @param policyVersion Recorded in the transitions.
   * @param progress How much of the run is done, 0–1; default 0.
   * @returns Transitions that have become complete; may be none.
   */
  advance(
    policy: ActorCritic,
    policyVersion: number,
    progress?: number,
  ): Promise<ChunkTransition[]>;
}

/** Open robots. Owner of them. */
export interface ChunkSource extends AsyncDisposable {
  /** Runs them. */
  readonly runner: ChunkRunner;
  /** Robots. */
  readonly robots: number;
  /** What `/status` shows of them. */
  readonly status: () => object;
  /** POST routes of the status page. */
  readonly commands: Readonly<Record<string, RouteHandler>>;
  /** Gauges of the robots, by name without prefix: a help text, and values by labels. */
  readonly gauges: readonly SourceGauge[];
}

/** A measurement of a source for `/metrics`. */
export interface SourceGauge {
  /** Name, such as `clamps`. */
  readonly name: string;
  /** What it is, with its unit. */
  readonly help: string;
  /** Names of its labels. */
  readonly labels: readonly string[];
  /** Its values now. */
  readonly read: () => readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
  }[];
}
