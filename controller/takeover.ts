/**
 * A person at the wheel of one robot: since when, and where they want it to go.
 *
 * While a person has taken over, the policy is not asked about that robot. Targets come in requests, each
 * of which becomes chunks of at most H control steps, or one by one from a source such as a scripted
 * demonstrator in simulation. Between chunks the robot waits. (Leader arms as a source are not built.)
 *
 * @module
 */

import { ACTION_RANGES, ALOHA_DIM, STATE_NAMES } from "../common/robot/aloha.ts";
import { rowsOf } from "./chunk_executor.ts";

/** Targets that may wait, in control steps: ten seconds. */
export const MAX_QUEUED_STEPS = 500;

/** Absolute targets `[14]` of the next control step, asked for right before it; null for none. */
export type TargetSource = () => Float32Array | null;

/** Settings of a {@link Takeover}. */
export interface TakeoverOptions {
  /** Robots that can be taken over, counted from 0. */
  readonly robots: number;
  /** H: most control steps of a chunk. */
  readonly horizon: number;
}

/** Who drives, and where to. */
export class Takeover {
  readonly #options: TakeoverOptions;
  #robot: number | null = null;
  /** Counts takeovers: a chunk of one must not go on in the next. */
  #tenure = 0;
  #source: TargetSource | null = null;
  #chunks: Float32Array[] = [];
  #changed = Promise.withResolvers<void>();

  /** The policy drives every robot. */
  constructor(options: TakeoverOptions) {
    this.#options = options;
  }

  /** The robot that a person drives; null if there is none. */
  get robot(): number | null {
    return this.#robot;
  }

  /** Control steps that wait for their execution. */
  get queuedSteps(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.length / ALOHA_DIM, 0);
  }

  /** Whether a chunk could begin now. */
  get hasTargets(): boolean {
    return this.#source !== null || this.#chunks.length > 0;
  }

  /**
   * Take over from the policy: it ends its chunk after the step under way.
   *
   * @param robot Which one.
   * @param source Gives targets; without it they are {@link push}ed.
   * @returns Null, or why not, in one sentence.
   */
  begin(robot: number = 0, source: TargetSource | null = null): string | null {
    const { robots } = this.#options;
    if (!Number.isInteger(robot) || robot < 0 || robot >= robots) {
      return `Cannot take over robot ${robot}: there are ${robots}, counted from 0`;
    }
    if (this.#robot !== null) {
      return `Cannot take over robot ${robot}: a person drives robot ${this.#robot} already`;
    }
    this.#robot = robot;
    this.#tenure++;
    this.#source = source;
    this.#wake();
    return null;
  }

  /**
   * Give the robot back to the policy. Targets that were not executed are dropped.
   *
   * @returns Null, or why not, in one sentence.
   */
  release(): string | null {
    if (this.#robot === null) return "Cannot release: nobody has taken over";
    this.#robot = null;
    this.#source = null;
    this.#chunks = [];
    this.#wake();
    return null;
  }

  /**
   * Say where the robot shall go.
   *
   * @param targets Absolute targets, one row of 14 numbers a control step: rad, grippers 0–1.
   * @returns Null, or why not, in one sentence; then none of them counts.
   */
  push(targets: readonly (readonly number[])[]): string | null {
    if (this.#robot === null) return "Cannot take targets: nobody has taken over";
    if (this.#source !== null) return "Cannot take targets: they come from elsewhere";
    const steps = this.queuedSteps + targets.length;
    if (steps > MAX_QUEUED_STEPS) {
      return `Cannot take ${targets.length} targets: ${steps} would wait, the limit is ` +
        `${MAX_QUEUED_STEPS}`;
    }
    const fault = findTargetFault(targets);
    if (fault !== null) return fault;
    const { horizon } = this.#options;
    for (let from = 0; from < targets.length; from += horizon) {
      this.#chunks.push(Float32Array.from(targets.slice(from, from + horizon).flat()));
    }
    this.#wake();
    return null;
  }

  /**
   * The next chunk that a person drives.
   *
   * @returns Targets `[14]` by step, at most H of them, null from the release on; or null if none waits.
   */
  takeChunk(): ((step: number) => Float32Array | null) | null {
    const tenure = this.#tenure, source = this.#source;
    const chunk = source === null ? this.#chunks.shift() : undefined;
    if (source === null && chunk === undefined) return null;
    const rows = chunk === undefined ? () => source!() : rowsOf(chunk);
    return (step) => {
      const isHeld = this.#robot !== null && this.#tenure === tenure;
      return isHeld && step < this.#options.horizon ? rows(step) : null;
    };
  }

  /** Forget targets that wait: they were meant for an episode that is over. */
  clear(): void {
    this.#chunks = [];
  }

  /** Wait until somebody takes over, says where to go or releases, or for so long. */
  async waitForChange(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => this.#wake(), timeoutMs);
    await this.#changed.promise;
    clearTimeout(timer);
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
  }
}

/** What is wrong with targets, in one sentence; null if nothing is. */
function findTargetFault(targets: readonly (readonly number[])[]): string | null {
  for (const [step, target] of targets.entries()) {
    if (target.length !== ALOHA_DIM) {
      return `Cannot take targets: row ${step} has ${target.length} numbers, expected ${ALOHA_DIM}`;
    }
    for (const [i, value] of target.entries()) {
      const { min, max } = ACTION_RANGES[i];
      if (value >= min && value <= max) continue;
      return `Cannot take targets: ${
        STATE_NAMES[i]
      } of row ${step} is ${value}, expected ${min} to ` +
        `${max}`;
    }
  }
  return null;
}
