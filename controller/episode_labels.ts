/**
 * What people say about episodes while they run: success, failure, or a score.
 *
 * Whoever hears a person, at a keyboard or over HTTP, adds a label here; whoever runs the episode asks
 * after every control step. A label is in force with the next step, for it may have come between two. An
 * episode that has ended takes none: its last chunk is on its way to the learner.
 *
 * @module
 */

import type { StepOutcome } from "../common/types.ts";

/** What a label may say. */
export const LABEL_KINDS = ["success", "failure", "score"] as const;

/** When a score counts: with the step at hand, or with the episode's last one. */
export const LABEL_MOMENTS = ["now", "end"] as const;

/** Largest reward that one label gives or takes. */
export const MAX_LABEL_VALUE = 100;

/** Names the only episode that runs. */
export const CURRENT_EPISODE = "current";

/** What a person says about an episode. */
export interface Label {
  /** Id of the episode, or {@link CURRENT_EPISODE}. */
  readonly episode: string;
  /** Success and failure end it; a score does not. */
  readonly kind: (typeof LABEL_KINDS)[number];
  /** Reward, within ±{@link MAX_LABEL_VALUE}; if absent 1 for success and 0 for failure. */
  readonly value?: number;
  /** Default `now`. A verdict is one now. */
  readonly at?: (typeof LABEL_MOMENTS)[number];
}

interface Pending {
  now: number;
  atEnd: number;
  verdict: "success" | "failure" | null;
  verdictValue: number;
}

const NOTHING: Readonly<Pending> = { now: 0, atEnd: 0, verdict: null, verdictValue: 0 };

/** Labels of the episodes that run, until they are asked for. */
export class EpisodeLabels {
  readonly #pending = new Map<string, Pending>();

  /** Ids of the episodes that run, oldest first. */
  get running(): string[] {
    return [...this.#pending.keys()];
  }

  /** An episode begins. */
  begin(episodeId: string): void {
    this.#pending.set(episodeId, { ...NOTHING });
  }

  /** An episode is over: labels come too late from now on. */
  end(episodeId: string): void {
    this.#pending.delete(episodeId);
  }

  /**
   * Note a label.
   *
   * @returns Null if it counts from the next step on, or why not, in one sentence.
   */
  add({ episode, kind, value, at = "now" }: Label): string | null {
    const pending = this.#find(episode);
    if (typeof pending === "string") return pending;
    if (value !== undefined && !(Math.abs(value) <= MAX_LABEL_VALUE)) {
      return `Cannot take a reward of ${value}: it must be from -${MAX_LABEL_VALUE} to ` +
        `${MAX_LABEL_VALUE}`;
    }
    if (kind === "score") {
      if (value === undefined) return "Cannot take a score without a value: say how much it is";
      if (at === "now") pending.now += value;
      else pending.atEnd += value;
      return null;
    }
    if (at === "end") {
      return `Cannot note a ${kind} at the end: a verdict ends the episode; leave out "at"`;
    }
    pending.verdict = kind;
    pending.verdictValue = value ?? (kind === "success" ? 1 : 0);
    return null;
  }

  /**
   * Add what people said to what a control step came to.
   *
   * @param episodeId The step's episode.
   * @param outcome What the robot or its world says.
   * @returns The outcome with labels, if there were any: a person's verdict ends the episode, and is the
   * last word on its success.
   */
  judge(episodeId: string, outcome: StepOutcome): StepOutcome {
    const pending = this.#pending.get(episodeId);
    if (pending === undefined) return outcome;
    const { verdict, now, atEnd, verdictValue } = pending;
    const isEnd = verdict !== null || outcome.isTerminal || outcome.isTruncated;
    const given = now + (verdict === null ? 0 : verdictValue) + (isEnd ? atEnd : 0);
    pending.now = 0;
    if (verdict === null && given === 0) return outcome;
    const labelled = {
      ...outcome,
      reward: outcome.reward + given,
      humanReward: (outcome.humanReward ?? 0) + given,
    };
    if (verdict === null) return labelled;
    const isSuccess = verdict === "success";
    return { ...labelled, isTerminal: true, isTruncated: false, isSuccess };
  }

  #find(episode: string): Pending | string {
    const ids = this.running;
    if (episode !== CURRENT_EPISODE) {
      return this.#pending.get(episode) ??
        `Cannot label episode ${
            JSON.stringify(episode)
          }: it is not running, its last chunk is on ` +
          "its way to the learner or there never was such an episode";
    }
    if (ids.length === 1) return this.#pending.get(ids[0])!;
    return ids.length === 0
      ? "Cannot label the current episode: none is running"
      : `Cannot label the current episode: ${ids.length} are running; name one, /status lists them`;
  }
}
